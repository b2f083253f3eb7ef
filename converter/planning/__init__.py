"""What will be written, and from what: before a byte is."""

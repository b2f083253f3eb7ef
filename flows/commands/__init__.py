"""What people type: each command, and what it prints."""

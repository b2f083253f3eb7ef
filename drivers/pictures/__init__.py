"""What encoded pictures of several formats share: JPEG markers, sizes, colour, orientation."""

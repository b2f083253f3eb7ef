"""What the service tells of itself: status, news, metrics."""

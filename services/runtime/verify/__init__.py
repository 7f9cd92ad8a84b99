"""What a log says of itself, of what others published, and of its own past."""

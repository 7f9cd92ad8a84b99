"""What leaves the database for files."""

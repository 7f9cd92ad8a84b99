"""Events that leave the database for files, and how they are read there."""

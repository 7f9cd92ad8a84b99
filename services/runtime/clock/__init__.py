"""What time it is: the database's clock, and in a demo how far a virtual one is ahead of it."""

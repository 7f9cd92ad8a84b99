"""`perennial`: a file for each group of commands. It parses, calls and prints; it decides nothing."""

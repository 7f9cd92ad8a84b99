"""`perennial`: one file per command group. It parses, calls and prints; it decides nothing."""

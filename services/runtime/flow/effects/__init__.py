"""Effects: when they are due, running them, recording their results."""

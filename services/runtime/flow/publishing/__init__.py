"""From the log to the topic."""

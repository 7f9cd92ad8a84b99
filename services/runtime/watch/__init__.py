"""What can be seen of a running service, and what ends one that is stuck."""

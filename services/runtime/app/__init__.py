"""From an environment to a running service, and to its end."""

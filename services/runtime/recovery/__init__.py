"""Puts a service right after a loss: its log from its topic, its place in a topic."""

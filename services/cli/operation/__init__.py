"""For operators: how the services stand, and what waits for a person."""

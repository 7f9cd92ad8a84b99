"""How the system is run: the embedded stack, the demo, containers."""

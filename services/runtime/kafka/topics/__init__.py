"""Topics as they are on the broker: which one it is, how far it reaches, how it is set."""

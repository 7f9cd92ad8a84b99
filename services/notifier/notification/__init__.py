"""What every channel knows of one notification: its fact, commands, states and rules."""

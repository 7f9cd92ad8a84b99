"""How much a recipient gets, and which message tells of what was held back."""

"""How money comes in for an order, what it buys, and how it goes back when it buys nothing."""

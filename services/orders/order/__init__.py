"""What every journey knows of an order: its states, how facts change them, its ids and the rules."""

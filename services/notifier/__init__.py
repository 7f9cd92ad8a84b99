"""Tells customers of facts: keeps their contacts, sends each email once, records what was sent."""

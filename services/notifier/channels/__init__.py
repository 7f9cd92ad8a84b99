"""The ways out to the customer, a folder each."""

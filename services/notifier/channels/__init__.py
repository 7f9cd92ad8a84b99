"""Ways out to the customer: a port for email, and what implements it."""

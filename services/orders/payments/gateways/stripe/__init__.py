"""Stripe as a payment gateway: off-session PaymentIntents through its official SDK."""

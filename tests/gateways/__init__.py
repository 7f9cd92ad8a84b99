"""Gateways against what stands for them: Stripe's own mock for shapes, localstripe for state."""

"""Orders: renewals and top-ups, from the request to the payment, the activation and the refund."""

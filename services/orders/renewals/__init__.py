"""Renewals: the request, its price, and the activation of the plan that was paid."""

"""The effects of payments: a file for each kind."""

"""The effects of renewals: a file for each kind."""

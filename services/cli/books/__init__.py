"""For finance: balances, statements, replays and verification."""

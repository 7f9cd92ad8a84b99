"""The tables that follow the log, and the ways to derive balances from it again."""

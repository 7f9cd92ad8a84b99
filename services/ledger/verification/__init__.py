"""The books against the log, and against each other: `perennial ledger verify`."""

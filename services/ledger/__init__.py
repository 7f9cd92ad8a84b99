"""The ledger: the book of record, and the only one that decides whether a wallet can pay."""

"""Reaching Postgres, and which of its failures pass."""

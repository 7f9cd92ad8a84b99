"""The event log: its contract, and how Postgres and memory keep it."""

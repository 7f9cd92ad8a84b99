"""The way of a record through a service: read, decide, record, act, publish."""

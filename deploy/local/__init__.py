"""The whole system on one machine without containers: real Kafka, real Postgres, three services.

For development, tests and the demo. Everything is started from packages and ends with its parent.
"""

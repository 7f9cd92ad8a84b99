"""The servers of the local stack: broker, database, mail sink, and who may do what on the broker."""

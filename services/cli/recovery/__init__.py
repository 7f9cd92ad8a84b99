"""After a topic was made again, a broker moved, or a database restored."""

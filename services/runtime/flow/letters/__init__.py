"""Records that could not be handled: kept, published, read again."""

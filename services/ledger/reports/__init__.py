"""What is told of the books: the same input gives the same bytes on every machine."""

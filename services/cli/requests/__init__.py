"""For those who publish requests: the catalogue, publishing, what became of an order, the sandbox."""

"""Top-ups: the request and the bonus that it is promised."""

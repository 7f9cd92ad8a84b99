"""eSIM providers: the port in `provider`, one implementation per file."""

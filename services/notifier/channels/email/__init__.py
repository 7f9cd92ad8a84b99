"""Email: its texts, its message, and how it reaches a mail server."""

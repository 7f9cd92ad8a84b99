"""What an upstream system needs to publish requests from a file: reading, checking, delivering."""

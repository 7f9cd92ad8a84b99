"""What the sandbox gateway and provider share: their journal, and their separate HTTP server."""

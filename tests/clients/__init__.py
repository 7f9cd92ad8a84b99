"""Clients in other languages: what docs/PUBLISHING.md shows, and types that are generated."""

"""Counts in words: `1 dead letter`, `2 dead letters`."""

from __future__ import annotations


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return how many of a thing there are; `things` where the plural is not `thing` and an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"

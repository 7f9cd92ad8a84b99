"""What can go wrong with a local stack, in words for the person who started it."""

from __future__ import annotations


class StackError(RuntimeError):
    """The stack cannot start or go on; the message says why and what to do."""

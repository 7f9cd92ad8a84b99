"""The rules that an operator sets: how long to wait for a contact, how long to keep trying."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Policy:
    """`retry_first` doubles with every attempt up to `retry_longest`."""

    contact_deadline: timedelta = timedelta(days=1)
    send_deadline: timedelta = timedelta(days=1)
    retry_first: timedelta = timedelta(seconds=5)
    retry_longest: timedelta = timedelta(minutes=5)

    def pause_after(self, attempt: int) -> timedelta:
        """Return the pause after the attempt with this number, counted from 1."""
        doublings = min(max(attempt, 1) - 1, 32)
        return min(self.retry_first * (1 << doublings), self.retry_longest)

"""How many messages a mailbox takes: the generic cell rate algorithm (ITU-T I.371). PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether one may go now; else when the next one may. `expected_at` is what to keep of it."""

    admitted: bool
    expected_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` messages at once, and one more after each `interval`."""

    burst: int
    interval: timedelta

    def take(self, expected_at: datetime | None, now: datetime) -> Turn:
        """Ask for one turn; `expected_at` is when the mailbox would have had all its turns back.

        It is the algorithm's theoretical arrival time, None for a mailbox without a past. One that
        no message can have led to (the clock went back, the limit was lowered) counts as the
        latest possible: whoever waits does so for one interval at most.
        """
        latest = now + self.interval * self.burst
        arrival = min(max(expected_at or now, now), latest)
        at = max(now, arrival - self.interval * (self.burst - 1))
        if at > now:
            return Turn(admitted=False, expected_at=arrival, at=at)
        return Turn(admitted=True, expected_at=arrival + self.interval, at=now)

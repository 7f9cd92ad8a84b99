"""When effects of this process will be due, so that the database is not polled for them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from services.runtime.errors import Transient
from services.runtime.flow.work import Recorded

POLL_SECONDS: Final = 1.0
"""For what this process did not record or remember: effects of others, and leases that ended."""
VIRTUAL_POLL_SECONDS: Final = 0.02
"""Somebody turned the clock and waits for what is due now."""
GATHER_SECONDS: Final = 0.05
"""Effects that are due within this time of each other are asked for together."""
NEAR: Final = timedelta(minutes=1)
"""What is due later is left to the poll: it has time, and would fill the memory."""


class DueTimes:
    """The times at which effects will be due that this process recorded."""

    def __init__(self, clock: Callable[[], datetime], poll_seconds: float = POLL_SECONDS) -> None:
        """Compare with the time of `clock`, which raises `Transient` while it is not known."""
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._times: list[datetime] = []
        self._sooner = asyncio.Event()

    def note(self, recorded: Recorded) -> None:
        """Note the times of what was just committed."""
        with suppress(Transient):  # then the poll finds them
            limit = self._clock() + NEAR
            for due_at in _times_of(recorded):
                if due_at <= limit:
                    self.add(due_at)

    def add(self, due_at: datetime) -> None:
        """Note a time, past or near."""
        heapq.heappush(self._times, due_at)
        if self._times[0] == due_at:
            self._sooner.set()

    def forget(self, now: datetime) -> None:
        """Forget what is due by now, before the database is asked for it."""
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)

    async def wait(self) -> None:
        """Return when the next one is due, and after the time of a poll at the latest."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._poll_seconds
        await asyncio.sleep(GATHER_SECONDS)
        while (seconds := min(ends_at - loop.time(), self._seconds_left())) > 0:
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._sooner.wait()

    def _seconds_left(self) -> float:
        if self._times:
            with suppress(Transient):
                return (self._times[0] - self._clock()).total_seconds()
        return self._poll_seconds


def _times_of(recorded: Recorded) -> Iterator[datetime]:
    """Yield when what was recorded is due, but for what already came back leased."""
    leased = {each.run.key[:2] for each in recorded.leased}
    for origin, start in recorded.starts:
        if start.due_at is not None and (origin.shard, start.effect_id) not in leased:
            yield start.due_at
    for _, retry in recorded.retries:
        if retry.due_at is not None:
            yield retry.due_at

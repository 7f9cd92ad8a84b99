"""How long a loop gathers before its next turn, and when it lets others come first.

A turn costs nearly the same whatever it holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

GATHER_SECONDS_MAX: Final = 0.04
AT_ONCE_MAX: Final = 32
"""How many records are looked at in one go: a millisecond or two."""
ItemT = TypeVar("ItemT")


async def shared(items: Sequence[ItemT], at_once: int = AT_ONCE_MAX) -> AsyncIterator[ItemT]:
    """Yield `items`, and every `at_once` let whoever else waits for the event loop come first."""
    for number, item in enumerate(items, 1):
        if number % at_once == 0:
            await asyncio.sleep(0)
        yield item


class Pace:
    """Gathers for as long as the last turn took, so that under load turns are fewer and larger.

    An idle service answers at once, and a busy one spends at most half of its time on turns.
    """

    def __init__(self, least_seconds: float = 0.0) -> None:
        """Gather for at least `least_seconds`, and at most GATHER_SECONDS_MAX."""
        self._least_seconds = least_seconds
        self._turn_seconds = 0.0

    @property
    def gather_seconds(self) -> float:
        """How long the next turn is waited for."""
        return min(GATHER_SECONDS_MAX, max(self._least_seconds, self._turn_seconds))

    async def gather(self) -> None:
        """Wait for what else the next turn could take."""
        if self.gather_seconds:
            await asyncio.sleep(self.gather_seconds)

    @contextmanager
    def turn(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._turn_seconds = time.monotonic() - started

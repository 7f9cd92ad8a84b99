"""Ends a process that is alive but no longer moves, so that it is started again.

After a broker restart or a rebalance a client can go on heartbeating and never fetch or publish
again. Its own view of itself cannot be trusted; whether positions move can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

from services.runtime.errors import Stuck

_LOOKS_PER_LIMIT: Final = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """What can be seen from outside at one moment.

    `consumed` and `published` are any values that change with progress. `behind` and `unpublished`
    count the work that waits. `busy` says that a batch is in hand or waits for room.
    """

    consumed: Hashable
    behind: int
    busy: bool
    published: Hashable
    unpublished: int


Look = Callable[[], Awaitable[Progress | None]]
"""Returns None when Postgres does not answer: no progress is then expected."""


@dataclass(slots=True)
class _Part:
    """One thing that must move while it has work."""

    what: str
    seen: Hashable = None
    still_since: float | None = None

    def stands_still(self, seen: Hashable, *, waiting: bool, now: float, limit: float) -> bool:
        if not waiting:
            self.still_since = None
            return False
        if self.still_since is None or seen != self.seen:
            self.seen, self.still_since = seen, now
        return now - self.still_since >= limit


class Watchdog:
    """Looks at the process again and again, and raises when it is stuck."""

    def __init__(
        self,
        look: Look,
        *,
        kafka_answers: Callable[[], Awaitable[bool]],
        records_wait: Callable[[], Awaitable[bool]],
        limit_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        """Call it stuck when work waits and nothing moves for `limit_seconds`.

        `kafka_answers` asks with a new connection: the ones in use may be what is stuck.
        `records_wait` reads with one: what a topic ends with may be no record.
        """
        self._look = look
        self._kafka_answers = kafka_answers
        self._records_wait = records_wait
        self._limit = limit_seconds
        self._monotonic = monotonic
        self._consumer, self._relay = _Part("the consumer"), _Part("the relay")

    async def run(self) -> None:
        """Look until cancelled.

        Raises:
            Stuck: a part no longer moves.
        """
        while True:
            await asyncio.sleep(self._limit / _LOOKS_PER_LIMIT)
            await self.look_once()

    async def look_once(self) -> None:
        """Compare what is seen with what was seen before.

        Raises:
            Stuck: a part no longer moves.
        """
        progress = await self._look()
        if progress is None:
            self._start_over()
            return
        now, limit = self._monotonic(), self._limit
        behind = progress.behind > 0 and not progress.busy
        still = []
        if self._consumer.stands_still(progress.consumed, waiting=behind, now=now, limit=limit):
            still.append(self._consumer.what)
        unsent = progress.unpublished > 0
        if self._relay.stands_still(progress.published, waiting=unsent, now=now, limit=limit):
            still.append(self._relay.what)
        if not still:
            return
        if not await self._kafka_answers():
            self._start_over()
            return
        if self._consumer.what in still and not await self._records_wait():
            self._consumer.still_since = None
            still.remove(self._consumer.what)
        if not still:
            return
        message = (
            f"{' and '.join(still)} stood still for {limit:.0f} s although there is work, and "
            "Postgres and Kafka answer: ending, to be started again"
        )
        raise Stuck(message)

    def _start_over(self) -> None:
        self._consumer.still_since = self._relay.still_since = None

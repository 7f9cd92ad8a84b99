"""The one clock that money depends on: the database's, as every process of a service follows it.

Between two readings a process counts on by a clock that nobody sets. So it notices when the
database's clock jumps, and does not believe it: while two clocks of three do not agree, it is not
known what time it is, and nothing is decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from services.runtime.errors import Transient
from services.runtime.logs import Logger
from services.runtime.postgres.errors import transient_when_unwell

TOLERANCE_SECONDS: Final = 5.0
"""Clocks that agree this closely show the same time; further apart, one of them is wrong."""
SETTLE_SECONDS: Final = 60.0
"""For so long two clocks must agree against the third before they are believed."""
READ_SECONDS: Final = 1.0


class TimeDisputed(Transient):
    """It is not known what time it is: wait, and do nothing that depends on it."""


class Ally(StrEnum):
    """Whom the wall clock of this process agrees with, when the database's clock has jumped."""

    COUNTED = "counted"
    """The database went back: what was counted on from its older readings is right. When it is
    ahead instead, the host may have stopped both clocks of this machine: it is not known."""
    DATABASE = "database"
    """This process stood still, or its machine was set together with the database."""
    NOBODY = "nobody"


@dataclass(slots=True)
class ClockCounts:
    """What is shown of the clock: differences in seconds to the time that counts.

    `database` and `wall` are positive where that clock is ahead.
    """

    jumps: int = 0
    disputed: bool = False
    database: float = 0.0
    wall: float = 0.0


@dataclass(slots=True)
class _Dispute:
    since: float
    gap: float
    ally: Ally
    settled: bool = False


def running_seconds() -> float:
    """Return seconds of a clock that cannot be set; it counts while the machine sleeps."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class DatabaseClock:
    """Follows the database's clock. It never goes back; when that is set back, it stands still."""

    def __init__(
        self,
        logger: Logger,
        *,
        running: Callable[[], float] = running_seconds,
        wall: Callable[[], float] = time.time,
        ahead: Callable[[], timedelta] = timedelta,
    ) -> None:
        """Count on by `running`; `wall` is the process's own clock, in seconds since 1970: a witness.

        The time that is told is `ahead` of the database's: nothing, unless the clock is virtual.
        """
        self._logger = logger
        self.running = running
        self._wall = wall
        self._ahead = ahead
        self._offset: float | None = None
        self._newest = 0.0
        self._dispute: _Dispute | None = None
        self.counts = ClockCounts()

    def now(self) -> datetime:
        """Return the time.

        Raises:
            TimeDisputed: it is not known.
        """
        if self._offset is None and self._dispute is None:
            message = "the clock of the database was not read yet"
            raise TimeDisputed(message)
        if trouble := self.trouble():
            raise TimeDisputed(trouble)
        return self.counted()

    def counted(self) -> datetime:
        """Return the time as it is counted, disputed or not: when something was seen to happen."""
        if self._offset is None:
            return datetime.fromtimestamp(self._wall(), UTC) + self._ahead()
        self._newest = max(self._newest, self.running() + self._offset)
        return datetime.fromtimestamp(self._newest, UTC) + self._ahead()

    def trouble(self) -> str | None:
        """Return why it is not known what time it is, and what to do; None when it is."""
        dispute = self._dispute
        if dispute is None or dispute.settled:
            return None
        if self._offset is None:
            return (
                f"the clocks of this machine and of Postgres are {abs(dispute.gap):.0f} s apart: set "
                "the wrong one right"
            )
        if dispute.ally is Ally.COUNTED and dispute.gap > 0:
            return (
                f"the clock of Postgres is {dispute.gap:.0f} s ahead: it jumped, or the host stopped "
                "this machine, whose clocks are both late then: set the wrong one right"
            )
        return (
            f"the clock of Postgres has jumped by {dispute.gap:+.0f} s: nothing that depends on the "
            "time is decided until two clocks agree for a while"
        )

    def read(self, database: datetime, asked_at: float) -> None:
        """Take a reading of the database's clock that was asked for at `asked_at` of `running`."""
        answered_at = self.running()
        if answered_at - asked_at > TOLERANCE_SECONDS:
            return  # a late answer tells little
        seconds = database.timestamp()
        low, high = seconds - answered_at, seconds - asked_at
        wall = self._wall() - answered_at
        if self._offset is None:
            self._begin(low, high, wall)
        else:
            self._follow(_beyond(self._offset, low, high), _beyond(wall, low, high), wall)
        self._show(low, high, wall)

    def _begin(self, low: float, high: float, wall: float) -> None:
        apart = _beyond(wall, low, high)
        if abs(apart) <= TOLERANCE_SECONDS:
            self._offset = wall + apart
            self._end_dispute()
        elif self._dispute is None or abs(apart - self._dispute.gap) > TOLERANCE_SECONDS:
            self._open(apart, Ally.NOBODY)

    def _follow(self, gap: float, wall_gap: float, wall: float) -> None:
        assert self._offset is not None  # noqa: S101 - for mypy: `read` begins without one
        if abs(gap) <= TOLERANCE_SECONDS:
            self._offset += gap
            self._end_dispute()
            return
        ally = Ally.NOBODY
        if abs(wall - self._offset) <= TOLERANCE_SECONDS:
            ally = Ally.COUNTED
        elif abs(wall_gap) <= TOLERANCE_SECONDS:
            ally = Ally.DATABASE
        dispute = self._dispute
        moved = dispute is None or abs(gap - dispute.gap) > TOLERANCE_SECONDS
        if dispute is None or moved or ally is not dispute.ally:
            self._open(gap, ally, counts=moved)
        elif self._tells(ally, gap) and self.running() - dispute.since >= SETTLE_SECONDS:
            self._settle(dispute)

    @staticmethod
    def _tells(ally: Ally, gap: float) -> bool:
        """Say whether two clocks that agree are two witnesses: a machine may stop both of its own."""
        return ally is Ally.DATABASE or (ally is Ally.COUNTED and gap < 0)

    def _open(self, gap: float, ally: Ally, *, counts: bool = True) -> None:
        self._dispute = _Dispute(self.running(), gap, ally)
        self.counts.jumps += counts
        self._logger.error(
            "clock_disputed", database_ahead_seconds=round(gap, 1), wall_clock_agrees_with=ally
        )

    def _settle(self, dispute: _Dispute) -> None:
        """Believe two clocks that agreed for long enough."""
        if dispute.settled:
            return
        if dispute.ally is Ally.DATABASE:
            assert self._offset is not None  # noqa: S101 - it had one before it was disputed
            self._offset += dispute.gap
            self._end_dispute()
            return
        dispute.settled = True
        self._logger.error("clock_of_database_wrong", ahead_seconds=round(dispute.gap, 1))

    def _end_dispute(self) -> None:
        if self._dispute is not None:
            self._logger.warning("clocks_agree")
        self._dispute = None

    def _show(self, low: float, high: float, wall: float) -> None:
        self.counts.disputed = self.trouble() is not None
        if self._offset is None:
            self.counts.database, self.counts.wall = 0.0, -_beyond(wall, low, high)
        else:
            self.counts.database = _beyond(self._offset, low, high)
            self.counts.wall = wall - self._offset


def _beyond(offset: float, low: float, high: float) -> float:
    """Return how far `offset` must move to lie between `low` and `high`."""
    return max(low - offset, min(0.0, high - offset))


class ClockWatch:
    """Reads the database's clock every second, so that a jump is noticed before it matters."""

    def __init__(self, clock: DatabaseClock, pool: asyncpg.Pool) -> None:
        self._clock = clock
        self._pool = pool

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(READ_SECONDS)

    async def look(self) -> None:
        """Read once, if Postgres answers: whoever needs it says so when not."""
        with suppress(Transient), transient_when_unwell():
            async with self._pool.acquire() as connection:
                asked_at = self._clock.running()
                database = await connection.fetchval("SELECT clock_timestamp()")
                self._clock.read(database, asked_at)

"""The couriers as a process that kills itself: `courier_process DSN FOLDER POINT TURN`.

At the `TURN`-th time that it comes to `POINT`, it dies without a word. Its own topic is a folder.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.runtime.app.start import open_pool
from services.runtime.log.event_log import EventLog, Transaction
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import settings_for
from tests.unit.runtime.couriers import Couriers, Crashing

POINTS: Final = ("before the commit", "after the commit", "before it is marked as published")


@dataclass(slots=True)
class Killer(Crashing):
    """A log under which the process dies."""

    point: str = ""
    turns: int = 0

    def come_to(self, point: str) -> None:
        """Die here, if it is the turn."""
        if point == self.point:
            self.turns -= 1
            if self.turns == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @asynccontextmanager
    async def transaction(self, **wanted: Any) -> AsyncIterator[Transaction]:
        """Work on the log, and die at the end or behind it."""
        async with self.log.transaction(**wanted) as tx:
            yield tx
            await tx.write_staged()
            self.come_to(POINTS[0])
        self.come_to(POINTS[1])


class Process(Couriers):
    """The couriers with topics on a disk."""

    def __init__(self, log: EventLog, folder: Path, killer: Killer) -> None:
        """Begin where the folder says."""
        super().__init__(log)
        self.crashing = killer
        self.restart()
        self.file = folder / "topics"
        if self.file.exists():
            self.topics.update(pickle.loads(self.file.read_bytes()))  # noqa: S301 - our own

    def keep(self, *, sent: bool) -> None:
        """Write the topics, as a broker does before it answers; die behind it, if it is the turn."""
        written = self.file.with_suffix(".new")
        written.write_bytes(pickle.dumps(dict(self.topics)))
        written.replace(self.file)
        if sent and isinstance(self.crashing, Killer):
            self.crashing.come_to(POINTS[2])


async def main(dsn: str, folder: Path, point: str, turn: int) -> None:
    """Go on until nothing is to be done."""
    pool = await open_pool("orders", settings_for(dsn, role="perennial_orders:secret"))
    try:
        log = PostgresEventLog(pool)
        couriers = Process(log, folder, Killer(log, point=point, turns=turn))
        await couriers.begin()
        await couriers.settle()
    finally:
        await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))

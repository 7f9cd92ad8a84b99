"""Whether the log still holds what this process committed: a fail-over can lose the newest of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from services.runtime.errors import Halt, Transient
from services.runtime.log.event_log import EventLog, LogEnd
from services.runtime.logs import Logger

LOOK_SECONDS: Final = 2.0


def positions_of(ends: Mapping[int, LogEnd]) -> dict[int, int]:
    """Return the position of each end."""
    return {shard: end.position for shard, end in ends.items()}


def in_the_log(ends: Mapping[int, LogEnd], archived: Mapping[int, int]) -> dict[int, LogEnd]:
    """Return the ends that no file holds: what is archived was compared before."""
    return {shard: end for shard, end in ends.items() if end.position > archived.get(shard, 0)}


def refuse_lost(known: Mapping[int, LogEnd], found: Mapping[int, bytes]) -> None:
    """Compare the ends that we know with the hashes that the log has there now.

    Raises:
        Halt: it has another event there, or none.
    """
    for shard, end in sorted(known.items()):
        if end.position and found.get(shard) != end.hash:
            message = (
                f"shard {shard} of the log no longer holds event {end.position} that this process "
                "committed: the database lost its newest transactions, in a fail-over or because it "
                "was put back. Nothing is written to it any more; see docs/OPERATIONS.md, Restore"
            )
            raise Halt(message)


async def _agreed() -> None:
    """Have nothing to compare with."""


class LogWatch:
    """Looks every two seconds, so that nothing is published or done on a log that went back.

    Before anything is written, the journal compares under the lock as well. Another server or
    timeline is trusted by the log only when it was compared here.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        committed: Callable[[], Mapping[int, LogEnd]],
        logger: Logger,
        compare_published: Callable[[], Awaitable[None]] = _agreed,
    ) -> None:
        """Watch `log`; `committed` are the newest ends that this process wrote.

        `compare_published` raises `Halt` when the log lacks what is on its topic.
        """
        self._log = log
        self._committed = committed
        self._compare_published = compare_published
        self._logger = logger
        self._seen: dict[int, LogEnd] = {}
        self._server: str | None = None
        self._told: str | None = None

    async def run(self) -> None:
        """Look until cancelled.

        Raises:
            Halt: what was committed is not there any more.
        """
        while True:
            with suppress(Transient):  # whoever reads or publishes says so
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Compare what we know with what is there, and remember what is there now.

        Raises:
            Halt: as `run`; or, on another server, that what was published is not there.
            Transient: Postgres or Kafka does not answer.
        """
        server = await self._log.server()
        seen, committed = self._seen, self._committed()
        await self._compare(seen)
        # What we saw last may be of another log than what we committed before.
        await self._compare({s: end for s, end in committed.items() if end != seen.get(s)})
        self._seen = await self._log.ends()
        if server != self._server and self._server is not None:
            if server != self._told:  # looked at again when the comparison could not be made
                self._logger.warning("database_changed", was=self._server, now=server)
                self._told = server
            await self._compare_published()
            self._logger.info("database_compared", now=server)
        self._server = server
        self._log.trust(server)

    async def _compare(self, known: Mapping[int, LogEnd]) -> None:
        if known:
            hashes = await self._log.hashes_at(positions_of(known))
            # Asked behind the hashes: what left meanwhile is archived now.
            refuse_lost(in_the_log(known, await self._log.archived()), hashes)

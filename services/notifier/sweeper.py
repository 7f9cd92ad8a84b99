"""Deletes expired contact candidates and limits, on a quiet service as on a busy one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.runtime.errors import Transient
from services.runtime.logs import Logger
from services.runtime.postgres.errors import transient_when_unwell

SWEPT_EVERY_SECONDS: Final = 60.0
_SWEPT_AT_ONCE: Final = 1_000
"""Few enough that a sweep holds no lock for long."""
_AT_ONCE: Final = timedelta(0)
_EXPIRED: Final = (
    ("contact_candidate", "expires_at", _AT_ONCE),
    ("accepted_request", "expires_at", _AT_ONCE),
    # A mailbox that has all its turns back is like one that was never written to.
    ("mailbox_limit", "expected_at", _AT_ONCE),
    # Each ends with its mail. What is left belongs to mails that a restored database never knew.
    ("held_mail", "held_at", timedelta(days=90)),
)


class Sweeper:
    """Deletes expired rows of the notifier's own tables, as one of any number of processes."""

    def __init__(
        self, pool: asyncpg.Pool, *, clock: Callable[[], datetime], logger: Logger
    ) -> None:
        """Work on `pool`, whose search_path begins with the notifier's schema."""
        self._pool = pool
        self._clock = clock
        self._logger = logger

    def ended(self, sweeping: asyncio.Task[None]) -> None:
        """Say so when sweeping ended by a defect: the service goes on without it."""
        if not sweeping.cancelled() and (error := sweeping.exception()) is not None:
            self._logger.error("sweeping_ended", exc_info=error)

    async def run(self) -> None:
        """Sweep every minute until cancelled."""
        while True:
            try:
                await self.sweep()
            except Transient as error:
                self._logger.warning("sweep_failed", error=str(error))
            await asyncio.sleep(SWEPT_EVERY_SECONDS)

    async def sweep(self) -> None:
        """Delete what has expired.

        Raises:
            Transient: the database is unwell; the next sweep finds the rest.
        """
        now = self._clock()
        for table, column, kept in _EXPIRED:
            query = _delete(table, column)
            with transient_when_unwell():
                while await self._pool.fetchval(query, now - kept) == _SWEPT_AT_ONCE:
                    pass


def _delete(table: str, column: str) -> str:
    return (
        f"WITH gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"  # noqa: S608
        f" WHERE {column} < $1 LIMIT {_SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED)) RETURNING 1)"
        " SELECT count(*) FROM gone"
    )


@asynccontextmanager
async def swept(sweeper: Sweeper) -> AsyncIterator[None]:
    """Sweep while the block runs."""
    sweeping = asyncio.create_task(sweeper.run())
    sweeping.add_done_callback(sweeper.ended)
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)

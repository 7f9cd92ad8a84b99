"""Forgets which events were taken, as soon as their topic can hold none of them any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg

from services.runtime.errors import Transient
from services.runtime.postgres.errors import transient_when_unwell

SEGMENTS_OUTLIVE: Final = timedelta(days=8)
"""A broker deletes whole segments: their oldest record outlives its retention by up to a week."""
SLICE_ROWS: Final = 100
"""Of each source and shard, in one statement."""
_LOOK_SECONDS: Final = 3600.0
_PAUSE_SECONDS: Final = 0.2
# The rows of a source and shard are as old as their numbers are low. Their last one stays.
_FORGET: Final = (
    "WITH gone AS (SELECT old.source, old.shard, old.last_sequence FROM source_sequence AS known"
    " CROSS JOIN LATERAL (SELECT * FROM taken_event AS kept WHERE kept.source = known.source"
    " AND kept.shard = known.shard AND kept.last_sequence < known.last_sequence"
    " ORDER BY kept.last_sequence LIMIT $2) AS old"
    " WHERE old.taken_at < clock_timestamp() - $1::interval)"
    " DELETE FROM taken_event USING gone WHERE taken_event.source = gone.source"
    " AND taken_event.shard = gone.shard AND taken_event.last_sequence = gone.last_sequence"
)


class TakenEvents:
    """The `taken_event` table of one service."""

    def __init__(self, pool: asyncpg.Pool, retention: timedelta) -> None:
        """Work on `pool`, whose search_path begins with the service's schema.

        No topic that the service reads keeps a record longer than `retention`.
        """
        self._pool = pool
        self._kept = retention + SEGMENTS_OUTLIVE

    async def run(self) -> None:
        """Forget what is old every hour, until cancelled."""
        while True:
            with suppress(Transient):  # whoever reads or publishes says so
                while await self.forget():  # noqa: ASYNC110 - a slice at a time
                    await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)

    async def forget(self, *, rows: int = SLICE_ROWS) -> int:
        """Forget a slice of what no topic can hold any more; return how many rows.

        Raises:
            Transient: Postgres does not answer.
        """
        with transient_when_unwell():
            status: str = await self._pool.execute(_FORGET, self._kept, rows)
        return int(status.rpartition(" ")[2])

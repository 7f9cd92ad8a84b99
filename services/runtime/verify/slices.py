"""Reads a log in slices: ranges of positions up to fixed heads, a short transaction each.

What is below a head never changes, so many short looks see the same as a long one, and hold back
neither vacuum nor anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from services.runtime.log.event_log import GENESIS_HASH, StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.verify.checks import Begin, LogHead

if TYPE_CHECKING:
    import asyncpg

SLICE: Final = 2000
_HEADS: Final = (
    "SELECT shard.shard, head_position, head_hash, head_sequence, published_position,"
    " archived_position, last_hash, last_sequence FROM shard LEFT JOIN archived_range"
    " ON archived_range.shard = shard.shard AND last_position = archived_position"
    " ORDER BY shard.shard"
)
_EVENTS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position"
)


class SliceMark(NamedTuple):
    """The newest event that a service took of another one's shard."""

    source: str
    shard: int
    sequence: int
    event_id: UUID


async def heads_of(connection: Any) -> dict[int, LogHead]:  # noqa: ANN401 - asyncpg's, or a pool's
    """Return where each shard of the log ends, and behind which archived event it begins."""
    rows = await connection.fetch(_HEADS)
    return {
        row["shard"]: LogHead(
            row["head_position"],
            row["head_hash"],
            row["head_sequence"],
            archived=row["archived_position"],
            published=row["published_position"],
            begin=Begin(
                row["archived_position"],
                row["last_hash"] or GENESIS_HASH,
                row["last_sequence"] or 0,
            ),
        )
        for row in rows
    }


async def marks_of(connection: asyncpg.Connection) -> dict[tuple[str, int], SliceMark]:
    """Return what was taken last of each source, by source and shard."""
    rows = await connection.fetch(
        "SELECT source, shard, last_sequence, last_event_id FROM source_sequence"
    )
    return {(row["source"], row["shard"]): SliceMark(*row) for row in rows}


async def slices_of(
    connection: asyncpg.Connection, shard: int, heads: Mapping[int, LogHead]
) -> AsyncIterator[list[StoredEvent]]:
    """Yield the events of a shard up to its head, some at a time, in order; no archived ones.

    What lies beyond the head is there too: it was appended since, or by somebody else.
    """
    end, archived = heads[shard].position, heads[shard].archived
    newest = await connection.fetchval("SELECT max(position) FROM event WHERE shard = $1", shard)
    held = await connection.fetchval("SELECT head_position FROM shard WHERE shard = $1", shard)
    last = newest or 0 if (newest or 0) > (held or 0) else min(newest or 0, end)
    for first in range(archived, last, SLICE):
        rows = await connection.fetch(_EVENTS, shard, first, min(first + SLICE, last))
        yield [stored_event(row) for row in rows]
        await asyncio.sleep(0)

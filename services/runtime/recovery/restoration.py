"""Writes down again the effects that streams still need, for a log that was taken back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from services.runtime.effect import Release, Start
from services.runtime.effect_definition import EffectDefinition
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.log.tables.effects import DROP_OTHERS, RELEASE, RESTORE

PastT = TypeVar("PastT")
_STREAMS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event WHERE stream_id = ANY($1::text[])"  # noqa: S608
    " ORDER BY stream_id, stream_version"
)


async def streams_of(
    connection: asyncpg.Connection, stream_ids: Collection[str]
) -> list[Sequence[StoredEvent]]:
    """Return the events of each stream that has any."""
    streams: dict[str, list[StoredEvent]] = defaultdict(list)
    for row in await connection.fetch(_STREAMS, list(stream_ids)):
        streams[row["stream_id"]].append(stored_event(row))
    return list(streams.values())


async def restore_effects(
    connection: asyncpg.Connection,
    streams: Iterable[Sequence[StoredEvent]],
    definitions: Sequence[EffectDefinition[Any, Any, PastT]],
    past_of: Callable[[Sequence[StoredEvent]], PastT],
) -> int:
    """Write the effects that `streams` still need, each to be looked up first; return how many."""
    count = 0
    for stored in streams:
        past = past_of(stored)
        for definition in definitions:
            count += await _restore(connection, stored[0], definition, past)
    return count


async def _restore(
    connection: asyncpg.Connection,
    first: StoredEvent,
    definition: EffectDefinition[Any, Any, PastT],
    past: PastT,
) -> int:
    restored = definition.restore(past)
    starts = [change for change in restored.changes if isinstance(change, Start)]
    await connection.executemany(RESTORE, [_row(first, start) for start in starts])
    for change in restored.changes:
        if isinstance(change, Release):
            await connection.execute(RELEASE, first.shard, change.hold_key)
    if restored.drop_others:
        wanted = [start.effect_id for start in starts]
        await connection.execute(DROP_OTHERS, first.shard, first.stream_id, definition.kind, wanted)
    return len(starts)


def _row(first: StoredEvent, start: Start) -> tuple[Any, ...]:
    return (
        first.shard,
        start.effect_id,
        start.kind,
        first.account_id,
        first.stream_id,
        first.causation_id,
        first.correlation_id,
        first.traceparent,
        json.dumps(start.payload),
        start.hold_key,
        start.due_at,
    )

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

PastT = TypeVar("PastT")
_STREAMS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event WHERE stream_id = ANY($1::text[])"  # noqa: S608
    " ORDER BY stream_id, stream_version"
)
_INSERT: Final = (
    "INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id,"
    " correlation_id, traceparent, payload, hold_key, due_at, interrupted)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10,"
    " CASE WHEN $10::text IS NULL THEN coalesce($11, clock_timestamp()) ELSE $11 END, true)"
    " ON CONFLICT (shard, effect_id) DO UPDATE SET interrupted = true,"
    " hold_key = coalesce(excluded.hold_key, effect.hold_key),"
    " due_at = CASE WHEN excluded.hold_key IS NULL THEN effect.due_at ELSE excluded.due_at END"
)
_RELEASE: Final = (
    "UPDATE effect SET hold_key = NULL, due_at = clock_timestamp(), interrupted = true"
    " WHERE shard = $1 AND hold_key = $2"
)
_DROP_OTHERS: Final = (
    "DELETE FROM effect WHERE shard = $1 AND stream_id = $2 AND kind = $3"
    " AND NOT effect_id = ANY($4::text[])"
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
    await connection.executemany(_INSERT, [_row(first, start) for start in starts])
    for change in restored.changes:
        if isinstance(change, Release):
            await connection.execute(_RELEASE, first.shard, change.hold_key)
    if restored.drop_others:
        wanted = [start.effect_id for start in starts]
        await connection.execute(
            _DROP_OTHERS, first.shard, first.stream_id, definition.kind, wanted
        )
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

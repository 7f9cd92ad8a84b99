"""Gives orders that were taken back from the topic the effects that they still need."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID

import asyncpg

from schemas.requests import RenewalRequested, TopUpRequested
from services.orders.catalog import Catalogue
from services.orders.effects import ACTIVATE, REFUND
from services.orders.unfinished import Request, is_open, unfinished, waits_for_activation
from services.runtime.errors import Poison
from services.runtime.kafka.cloudevents import Record, read_record
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.processor import Start

_REQUESTS: Final[dict[str, type[Request]]] = {
    RenewalRequested.wire_type(): RenewalRequested,
    TopUpRequested.wire_type(): TopUpRequested,
}
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
_FORGET: Final = "DELETE FROM effect WHERE shard = $1 AND hold_key IN ($2, $2 || '/expiry')"

_FORGET_SETTLED: Final = (
    # A person may have said how these ended: then no look-up finds it, and they would be done anew.
    "DELETE FROM effect WHERE shard = $1 AND stream_id = $2 AND (kind = $3 AND NOT $4"
    " OR kind = $5 AND NOT effect_id = ANY($6::text[]))"
)


def requests_of(records: Iterable[Record]) -> dict[UUID, Request]:
    """Return the requests among records by their event ids; what cannot be read has no order."""
    found: dict[UUID, Request] = {}
    for record in records:
        try:
            envelope, body = read_record(record)
            if model := _REQUESTS.get(envelope.type):
                found.setdefault(envelope.id, model.parse(body))
        except (Poison, ValueError):
            continue
    return found


async def take_up(
    connection: asyncpg.Connection,
    stream_ids: Collection[str],
    requests: dict[UUID, Request],
    catalogue: Catalogue,
) -> int:
    """Write the effects that the orders still need, each to be looked up first; return how many."""
    streams: dict[str, list[StoredEvent]] = defaultdict(list)
    for row in await connection.fetch(_STREAMS, list(stream_ids)):
        streams[row["stream_id"]].append(stored_event(row))
    count = 0
    for stored in streams.values():
        events = [each.event() for each in stored]
        first = stored[0]
        request = requests.get(first.causation_id) if first.causation_id else None
        starts = unfinished(events, request, catalogue)
        await connection.executemany(_INSERT, [_row(first, start) for start in starts])
        if waits_for_activation(events):
            await connection.execute(_RELEASE, first.shard, first.stream_id)
        elif not is_open(events):
            await connection.execute(_FORGET, first.shard, first.stream_id)
        await connection.execute(
            _FORGET_SETTLED,
            first.shard,
            first.stream_id,
            ACTIVATE,
            is_open(events),
            REFUND,
            [start.effect_id for start in starts],
        )
        count += len(starts)
    return count


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

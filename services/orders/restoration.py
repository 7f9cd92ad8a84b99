"""Gives orders that were taken back from the topic the effects that they still need."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from schemas.envelope import Event
from schemas.orders import RenewalAccepted, TopUpAccepted
from schemas.requests import RenewalRequested, TopUpRequested
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.identities import request_digest
from services.orders.payments.claims.transactions import restore_claims
from services.orders.payments.effects import REFUND
from services.orders.renewals.effects import ACTIVATE
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


Requests = Mapping[tuple[UUID, str], Sequence[Request]]
"""The requests that bear an event id for an account: several sources may have used the same."""


def requests_of(records: Iterable[Record]) -> Requests:
    """Return the requests among records; what cannot be read has no order."""
    found: dict[tuple[UUID, str], list[Request]] = defaultdict(list)
    for record in records:
        try:
            envelope, body = read_record(record)
            if model := _REQUESTS.get(envelope.type):
                request = model.parse(body)
                found[envelope.id, request.account_id].append(request)
        except (Poison, ValueError):
            continue
    return found


async def take_up(
    connection: asyncpg.Connection,
    stream_ids: Collection[str],
    requests: Requests,
    catalogue: Catalogue,
    salt: str,
) -> int:
    """Write the effects that the orders still need, each to be looked up first; return how many."""
    streams: dict[str, list[StoredEvent]] = defaultdict(list)
    for row in await connection.fetch(_STREAMS, list(stream_ids)):
        streams[row["stream_id"]].append(stored_event(row))
    count = 0
    captured = (each for stored in streams.values() for each in stored)
    await restore_claims(
        connection, ((each.recorded_at, each.stream_id, each.event()) for each in captured)
    )
    for stored in streams.values():
        events = [each.event() for each in stored]
        first = stored[0]
        starts = unfinished(events, accepted_request(stored, events, requests, salt), catalogue)
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


def accepted_request(
    stored: Sequence[StoredEvent], events: Sequence[Event], requests: Requests, salt: str
) -> Request | None:
    """Return the very request that was accepted: never another one that bears the same id."""
    for row, event in zip(stored, events, strict=True):
        if isinstance(event, RenewalAccepted | TopUpAccepted) and row.causation_id is not None:
            for request in requests.get((row.causation_id, event.account_id), ()):
                if request_digest(request, salt) == event.request_digest:
                    return request
    return None


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

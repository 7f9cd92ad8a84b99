"""Gives orders that were taken back from the topic the effects that they still need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import asyncpg

from schemas import BILLING
from schemas.envelope import Event
from schemas.orders import RenewalAccepted, TopUpAccepted
from schemas.requests import RenewalRequested, TopUpRequested
from services.orders.catalogue.catalogue import Catalogue
from services.orders.effects import EFFECTS
from services.orders.order.identities import request_digest
from services.orders.order.past import Past, Request
from services.orders.payments.claims.transactions import restore_claims
from services.runtime.errors import Poison
from services.runtime.kafka.records.cloudevents import Record, read_record
from services.runtime.log.event_log import StoredEvent
from services.runtime.recovery.restoration import restore_effects, streams_of

_REQUESTS: Final[dict[str, type[Request]]] = {
    RenewalRequested.wire_type(): RenewalRequested,
    TopUpRequested.wire_type(): TopUpRequested,
}

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
    streams = await streams_of(connection, stream_ids)
    captured = (each for stored in streams for each in stored)
    await restore_claims(
        connection, ((each.recorded_at, each.stream_id, each.event(BILLING)) for each in captured)
    )

    def past_of(stored: Sequence[StoredEvent]) -> Past:
        events = [each.event(BILLING) for each in stored]
        return Past(events, accepted_request(stored, events, requests, salt), catalogue)

    return await restore_effects(connection, streams, EFFECTS, past_of)


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

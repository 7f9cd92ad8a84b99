"""A small log to check: events of orders in shard 1, chained as they are recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final
from uuid import UUID

from services.runtime.log.event_log import GENESIS_HASH, StoredEvent, chain_hash
from tests.controls import T0

ORDERS: Final = "/billing/orders"
LEDGER: Final = "/billing/ledger"


def event(position: int, shard: int = 1, **changes: Any) -> StoredEvent:
    """Return the event at a position, whose own number is its position too."""
    stored = StoredEvent(
        shard=shard,
        position=position,
        stream_id=f"order/t-{position}",
        stream_version=1,
        event_id=UUID(int=position),
        source=ORDERS,
        type="billing.OrderExpired.v1",
        sequence=position,
        account_id="acct-1",
        correlation_id=f"t-{position}",
        causation_id=UUID(int=1_000 + position),
        traceparent=None,
        occurred_at=T0,
        recorded_at=T0,
        body=b"{}",
    )
    return stored._replace(**changes)


def chained(events: Iterable[StoredEvent], previous: bytes = GENESIS_HASH) -> list[StoredEvent]:
    """Return events with the hash that each gets behind the one before it."""
    written = []
    for each in events:
        previous = chain_hash(previous, each)
        written.append(each._replace(hash=previous))
    return written


def where(position: int, shard: int = 1) -> str:
    """Return how a check names `event(position, shard)`."""
    name = f"billing.OrderExpired.v1 00000000-0000-0000-0000-{position:012x}"
    return f"shard {shard} position {position} ({name})"


async def slices(*events: StoredEvent, at_once: int = 1) -> AsyncIterator[list[StoredEvent]]:
    """Yield some events at a time, as a log is read."""
    for first in range(0, len(events), at_once):
        yield list(events[first : first + at_once])

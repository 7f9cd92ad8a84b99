"""Stored events of renewals in any number, from the examples of the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

from deploy.bench.system.load import SOURCE, Load, request_id
from schemas import BILLING
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import Source
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.event_log import ShardHead, StoredEvent, chain_hash

STEPS: Final = ("RenewalAccepted", "PaymentCaptured", "PlanActivated")
_EXAMPLES: Final = Path(__file__).parents[3] / "schemas" / "examples"
_NAMESPACE: Final = UUID("3b1f5a3e-2f6e-5a83-8f50-5d3a9c0b7d21")
_MOMENT: Final = datetime(2026, 11, 20, 8, tzinfo=UTC)


def _body(name: str) -> bytes:
    """Return the example's body with `account_id` and `renewal_id` left open for `%`."""
    example = json.loads((_EXAMPLES / name / "v1.json").read_text(encoding="utf-8"))
    data: dict[str, Any] = example["data"] | {"account_id": "%(account)s"}
    if "renewal_id" in data:
        data["renewal_id"] = "%(renewal)s"
    if "request_source" in data:
        data["request_source"] = SOURCE
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (
        text.encode()
        .replace(b"%(account)s", b"%(account)b")
        .replace(b"%(renewal)s", b"%(renewal)b")
    )


BODIES: Final = {name: _body(name) for name in (*STEPS, "NotificationSent")}


def stored_event(
    name: str, account_id: str, renewal_id: str, version: int, head: ShardHead
) -> StoredEvent:
    """Return an event of orders that follows `head` in its shard, and is not chained yet."""
    return StoredEvent(
        shard=shard_of(account_id, SHARD_COUNT_DEFAULT),
        position=head.position + 1,
        stream_id=f"order/{renewal_id}",
        stream_version=version,
        event_id=uuid5(_NAMESPACE, f"{renewal_id}/{name}"),
        source=Source.ORDERS,
        type=f"billing.{name}.v1",
        sequence=head.sequence + 1,
        account_id=account_id,
        correlation_id=renewal_id,
        causation_id=request_id(renewal_id),
        traceparent=None,
        occurred_at=_MOMENT,
        recorded_at=_MOMENT,
        body=BODIES[name] % {b"account": account_id.encode(), b"renewal": renewal_id.encode()},
    )


def stored_events(
    load: Load, first: int, count: int, heads: dict[int, ShardHead]
) -> Iterator[StoredEvent]:
    """Yield the chained events of `count` renewals from number `first` on, moving `heads`."""
    for number in range(first, first + count):
        account_id, renewal_id = load.account(number), f"{load.name}-{number}"
        head = heads[shard_of(account_id, SHARD_COUNT_DEFAULT)]
        for version, name in enumerate(STEPS, start=1):
            event = stored_event(name, account_id, renewal_id, version, head)
            event = event._replace(hash=chain_hash(head.hash, event))
            head.position, head.hash = event.position, event.hash
            head.sequence = event.sequence
            yield event


HEADERS: Final = {
    name: binary_headers(
        stored_event(name, "acct-0000000", "renewal-0000000", 1, ShardHead()), BILLING
    )
    for name in BODIES
}
"""Headers of the length that events have on their topic."""

"""What a restored log takes back from its topic: what it wrote itself, and nothing that is forged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from schemas.registry import key_pairs
from schemas.requests import PaymentMethod
from schemas.topics import TOPICS
from services.runtime.authenticity import EventKeys, EventVerifier
from services.runtime.errors import ConfigurationError
from services.runtime.log.event_log import ShardHead, StoredEvent, chain_hash
from services.runtime.recovery.adoption import events_after
from tests.books import Books, Operation, Record, record_of

SOURCE = "/billing/orders"
KEYS = EventKeys.read(
    "\n".join(f"{w}/{r}/k:{number:064x}" for number, (w, r) in enumerate(key_pairs(TOPICS), 1)),
    TOPICS,
)
SIGNER, OWN = KEYS.signer("orders"), KEYS.own("orders")


def chained() -> list[StoredEvent]:
    """Return the log of one shard of orders."""
    played = Books().play(
        [
            Operation("top_up", 1, 100 + number, 0, "EUR", None, PaymentMethod.CARD)
            for number in range(3)
        ]
    )
    head, events = ShardHead(), []
    for event in played.published:
        head.hash = chain_hash(head.hash, event)
        events.append(event._replace(hash=head.hash))
    return events


def published(events: Sequence[StoredEvent]) -> list[Record]:
    """Return events as records with their MAC."""
    records = []
    for event in events:
        record = record_of(event)
        key, body = record.key or b"", record.value or b""
        headers = [(name, value or b"") for name, value in record.headers]
        mac = SIGNER.mac(record.topic, record.partition, key, headers, body)
        records.append(replace(record, headers=[*headers, mac]))
    return records


def forged(record: Record, sequence: int) -> Record:
    """Return a copy with another number and another body, whose MAC is stolen."""
    headers = dict(record.headers) | {"ce_sequence": b"%020d" % sequence}
    return replace(
        record,
        value=(record.value or b"").replace(b":", b": "),
        headers=list(headers.items()),
    )


def taken(
    after: int, records: Sequence[Record], verifier: EventVerifier | None
) -> list[StoredEvent]:
    events = chained()
    last = events[after - 1]
    head = ShardHead(last.position, last.hash, last.sequence)
    return events_after(head, last.shard, SOURCE, records, verifier)


def test_log_becomes_what_it_was() -> None:
    events = chained()
    assert taken(2, published(events), OWN) == events[2:]
    assert taken(2, published(events), None) == events[2:]


def test_forged_records_are_passed_over() -> None:
    events = chained()
    records = published(events)
    mixed = [forged(records[0], 3), *records, forged(records[0], len(events) + 1)]
    assert taken(2, mixed, OWN) == events[2:]


def test_event_that_was_published_with_another_hash_is_not_taken() -> None:
    events = chained()
    with pytest.raises(ConfigurationError, match="another hash") as refused:
        taken(2, [*published(events)[:2], forged(published(events)[2], 3)], None)
    assert "topup_id" not in str(refused.value)
    rewritten = ShardHead(2, bytes(32), 2)
    with pytest.raises(ConfigurationError, match="another hash"):
        events_after(rewritten, events[0].shard, SOURCE, published(events), OWN)


def test_events_that_were_published_before_hashes_were_are_taken() -> None:
    events = chained()
    old = [record_of(event._replace(hash=b"")) for event in events]
    assert taken(2, old, None) == events[2:]

"""The chain hash against bytes written out by hand: what was hashed once is hashed so for ever."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.runtime.log.event_log import GENESIS_HASH, StoredEvent, chain_hash

EVENT = StoredEvent(
    shard=3,
    position=17,
    stream_id="order/rnw-1",
    stream_version=2,
    event_id=UUID("6f1d3c5e-0c57-4f0a-9d0e-5a3f3f0c7b11"),
    source="/billing/orders",
    type="billing.PaymentCaptured.v1",
    sequence=9,
    account_id="acct-1",
    correlation_id="rnw-1",
    causation_id=UUID("0c1f7a6e-5b0e-4f7c-8a36-2a3c1d0e9b45"),
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    occurred_at=datetime(2026, 11, 20, 8, tzinfo=UTC),
    recorded_at=datetime(2026, 11, 20, 8, 0, 0, 1, tzinfo=UTC),
    body=b'{"account_id":"acct-1"}',
)
BYTES = (
    b"3 17 2 9\n"
    b"order/rnw-1\n"
    b"6f1d3c5e-0c57-4f0a-9d0e-5a3f3f0c7b11 /billing/orders billing.PaymentCaptured.v1\n"
    b"acct-1\n"
    b"rnw-1\n"
    b"0c1f7a6e-5b0e-4f7c-8a36-2a3c1d0e9b45 "
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
    b"2026-11-20T08:00:00.000000Z 2026-11-20T08:00:00.000001Z\n"
    b'{"account_id":"acct-1"}'
)
FIRST = "848ee50bb27398f6f0de609ab1f26bd9fe075cc1a8a81ec1572ba6ce7f85a051"
AFTER_ANOTHER = "b6b3efbdb8afbaa602976c136b9eaf2eb8b20ac96fd76538ee34b719867f4ca9"
WITHOUT_OPTIONS = "edd363ad4fd6c7eecadb69b514137d71990ca4b18cd7548a2ebce0dc8118c294"
ANOTHER: dict[str, Any] = {
    "shard": 4,
    "position": 18,
    "stream_id": "order/rnw-2",
    "stream_version": 3,
    "event_id": UUID("6f1d3c5e-0c57-4f0a-9d0e-5a3f3f0c7b12"),
    "source": "/billing/ledger",
    "type": "billing.PaymentCaptured.v2",
    "sequence": 10,
    "account_id": "acct-2",
    "correlation_id": "rnw-2",
    "causation_id": None,
    "traceparent": None,
    "occurred_at": EVENT.occurred_at + timedelta(microseconds=1),
    "recorded_at": EVENT.recorded_at + timedelta(microseconds=1),
    "body": b'{"account_id":"acct-2"}',
}


def test_first_hash_of_a_shard_is_the_known_one() -> None:
    assert GENESIS_HASH == b"\0" * 32
    assert hashlib.sha256(GENESIS_HASH + BYTES).hexdigest() == FIRST
    assert chain_hash(GENESIS_HASH, EVENT).hex() == FIRST


def test_hash_after_another_event_is_the_known_one() -> None:
    assert chain_hash(bytes.fromhex(FIRST), EVENT).hex() == AFTER_ANOTHER


def test_hash_without_cause_and_trace_is_the_known_one() -> None:
    event = EVENT._replace(causation_id=None, traceparent=None)
    assert chain_hash(GENESIS_HASH, event).hex() == WITHOUT_OPTIONS


def test_every_column_but_the_hash_has_another_value_here() -> None:
    assert set(ANOTHER) == set(StoredEvent._fields) - {"hash"}
    assert all(getattr(EVENT, column) != value for column, value in ANOTHER.items())


@pytest.mark.parametrize("column", ANOTHER)
def test_column_is_hashed(column: str) -> None:
    changed = EVENT._replace(**{column: ANOTHER[column]})
    assert chain_hash(GENESIS_HASH, changed).hex() != FIRST


def test_hash_of_the_event_itself_is_not_hashed() -> None:
    assert chain_hash(GENESIS_HASH, EVENT._replace(hash=b"x" * 32)).hex() == FIRST


def test_columns_cannot_change_places() -> None:
    swapped = EVENT._replace(position=EVENT.stream_version, stream_version=EVENT.position)
    assert chain_hash(GENESIS_HASH, swapped).hex() != FIRST
    renamed = EVENT._replace(account_id=EVENT.correlation_id, correlation_id=EVENT.account_id)
    assert chain_hash(GENESIS_HASH, renamed).hex() != FIRST

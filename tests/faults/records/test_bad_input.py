"""Records that no proper client would send, on the real broker: kept, named, and passed by."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Producer

from schemas.topics import LEDGER, ORDERS, REQUESTS
from services.runtime.flow.letters.letter_room import PER_SOURCE_MAX
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from tests.infrastructure.system import SHARDS, Headers, System, request_headers
from tests.integration.operation.test_operator_commands import perennial

Raw = tuple[bytes | None, bytes | None, Headers]


def renewal(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "account_id": f"acct-{number}",
        "renewal_id": f"rnw-{number}",
        "iccid": f"8985203{number:08d}0000",
        "plan_code": "eu-day-basic",
        "payment": {"method": "card", "mode": "charge", "currency": "EUR", "token": "tok_ok"},
        "requested_at": "2026-11-20T08:00:00Z",
    } | changes


def raw(number: int, *, value: bytes | None = b"", **headers: bytes | None) -> Raw:
    """Return a good record of account `number` with some headers, or its value, replaced."""
    data = renewal(number)
    body = json.dumps(data).encode() if value == b"" else value
    replaced = dict(request_headers("RenewalRequested", UUID(int=number))) | headers
    return data["account_id"].encode(), body, list(replaced.items())


def structured(number: int, value: bytes) -> Raw:
    return f"acct-{number}".encode(), value, [("content-type", b"application/cloudevents+json")]


MALFORMED: list[tuple[str, Raw]] = [
    ("null_value", raw(1, value=None)),
    ("body_invalid", raw(2, value=b"{")),
    ("body_invalid", raw(3, value=b'{"account_id": "\xff\xfe"}')),
    ("not_json", structured(2, b"{,}")),
    ("not_json", structured(3, b'{"id": "\xff\xfe"}')),
    ("not_utf8", raw(14, ce_id=b"\xff\xfe")),
    ("header_null", raw(4, ce_id=None)),
    ("not_a_cloudevent", (b"acct-5", b"{}", [("traceparent", b"x")])),
    ("unknown_event_type", raw(6, ce_type=b"billing.PlanStolen.v1")),
    ("unknown_version", raw(7, ce_type=b"billing.RenewalRequested.v9")),
    ("specversion_unsupported", raw(8, ce_specversion=b"0.3")),
    ("source_not_allowed", raw(9, ce_source=b"/billing/orders")),
    ("attributes_invalid", raw(10, ce_time=b"yesterday")),
    ("attributes_invalid", raw(15, ce_time=b"0001-01-01T00:00:00+14:00")),
    (
        "body_invalid",
        raw(16, value=json.dumps(renewal(16, requested_at="9999-12-31T23:59:59-14:00")).encode()),
    ),
    ("oversized", raw(11, value=b'{"x": "' + b"y" * 700_000 + b'"}')),
    ("account_mismatch", (b"acct-999", *raw(12)[1:])),
    ("body_invalid", raw(13, value=json.dumps(renewal(13, quantity=-1)).encode())),
]


def beginning(value: bytes | None) -> bytes | None:
    """Return what is kept of a value."""
    return None if value is None else value[:BODY_BYTES_MAX]


def test_malformed_records_are_kept_with_their_bytes_and_the_good_ones_pass(
    system: System,
) -> None:
    system.start("orders")
    good = [renewal(number) for number in range(100, 120)]
    system.publish("RenewalRequested", *good[:10])
    system.publish_raw(*(record for _, record in MALFORMED))
    system.publish("RenewalRequested", *good[10:])

    system.wait_for(
        "every good renewal", lambda: len(system.events("orders", "PlanActivated")) == len(good)
    )

    rows = system.query("orders", "SELECT reason, record_value AS value, detail FROM dead_letter")
    kept = {row["value"]: row["reason"] for row in rows}
    assert kept == {beginning(value): reason for reason, (_, value, _) in MALFORMED}
    assert all("acct-" not in row["detail"] for row in rows), "details never repeat a value"
    topic = REQUESTS.dead_letter_topic("orders")
    published = system.wait_for(
        "the dead-letter topic",
        lambda: found if len(found := system.records(topic)) == len(MALFORMED) else None,
    )
    assert {record.value for record in published} == {
        beginning(value) for _, (_, value, _) in MALFORMED
    }
    assert len(system.events("orders", "PaymentCaptured")) == len(good)


@pytest.mark.parametrize(
    "value",
    [b"\x00" * 64, b"\xff" * 64, b"[" * 100_000, b'{"account_id": NaN}', b'"text"', b"1e999"],
    ids=["zeros", "ones", "deep", "nan", "text", "infinity"],
)
def test_poison_bytes_stop_nothing(system: System, value: bytes) -> None:
    system.start("orders")
    system.publish_raw(raw(1, value=value))
    system.publish("RenewalRequested", renewal(1))
    system.wait_for("the good renewal", lambda: system.events("orders", "PlanActivated"))
    assert len(system.dead_letters("orders")) == 1


def test_non_utf8_and_null_headers_beside_the_attributes_stop_nothing(system: System) -> None:
    system.start("orders")
    system.publish_raw(raw(1, tracking=b"\xff\xfe", note=None))
    system.publish("RenewalRequested", renewal(2))
    system.wait_for("renewal 2", lambda: system.events("orders", "PlanActivated"))
    assert set(system.dead_letters("orders")) <= {"header_null", "not_utf8"}


def test_record_in_another_partition_is_handled_in_its_accounts_shard(system: System) -> None:
    system.start("orders")
    wrong = (shard_of("acct-1", SHARDS) + 1) % SHARDS
    system.publish_raw(raw(1), partition=wrong)
    system.wait_for("the renewal", lambda: system.events("orders", "PlanActivated"))
    rows = system.query("orders", "SELECT DISTINCT shard FROM event")
    assert [row["shard"] for row in rows] == [shard_of("acct-1", SHARDS)]


def test_duplicate_and_reordered_requests_charge_once(system: System) -> None:
    system.start("orders")
    records = [raw(number) for number in range(1, 30)]
    system.publish_raw(*records, *reversed(records), *records[::2])
    system.publish("RenewalRequested", *[renewal(number) for number in range(1, 30)], prefix="new")
    system.publish("RenewalRequested", renewal(30))
    system.wait_for("all renewals", lambda: len(system.events("orders", "PlanActivated")) == 30)
    assert len(system.events("orders", "PaymentCaptured")) == 30
    assert system.dead_letters("orders") == []


def test_reused_id_with_other_content_is_refused_and_the_first_order_goes_on(
    system: System,
) -> None:
    system.start("orders")
    system.publish("RenewalRequested", renewal(1))
    # The other account's partition has no order with this one.
    system.wait_for("the first order", lambda: system.events("orders", "RenewalAccepted"))
    system.publish("RenewalRequested", renewal(1, plan_code="jp-day-basic"))
    system.publish("RenewalRequested", renewal(2, renewal_id="rnw-1"))
    rejected = system.wait_for(
        "both refusals",
        lambda: found if len(found := system.events("orders", "RenewalRejected")) == 2 else None,
    )
    assert {event["reason"] for event in rejected} == {"renewal_id_reused"}
    assert {event["account_id"] for event in rejected} == {"acct-1", "acct-2"}
    system.wait_for("the first order", lambda: system.events("orders", "PlanActivated"))
    assert len(system.events("orders", "PaymentCaptured")) == 1


def test_forged_events_of_our_own_services_never_reach_the_books(system: System) -> None:
    """Without keys: wrong source, wrong partition, taken or distant sequence.

    The first two are strangers. The others could be ours: they stop their shard until a person says
    that they are not.
    """
    system.event_keys = None
    system.start("orders")
    system.start("ledger")
    system.publish("RenewalRequested", renewal(1))
    system.wait_for("booked", lambda: system.query("ledger", "SELECT FROM event OFFSET 2"))
    honest = next(r for r in system.records(ORDERS.name) if b"PaymentCaptured" in str(r).encode())
    headers = dict(honest.headers)

    def forged(number: int, **changes: bytes) -> Raw:
        mine = headers | {"ce_id": str(UUID(int=number)).encode()} | changes
        return honest.key, honest.value, list(mine.items())

    home = honest.partition
    system.publish_raw(
        forged(1, ce_source=b"/upstream/forger"),
        forged(2, ce_sequence=b"3"),
        forged(3, ce_sequence=b"999"),
        topic=ORDERS.name,
        partition=home,
    )
    system.publish_raw(forged(4), topic=ORDERS.name, partition=(home + 1) % SHARDS)

    def parked(reason: str) -> list[Any]:
        return system.query("ledger", "SELECT 1 FROM parked_shard WHERE reason = $1", reason)

    for number, reason in enumerate(["sequence_conflict", "sequence_gap"]):
        system.wait_for(reason, partial(parked, reason))
        asked = perennial(system, "shards", "resume", "--set-aside", "--reason", f"forged {number}")
        assert "resumed" in asked.stdout or "parked again" in asked.stderr
    reasons = system.wait_for(
        "all four refused",
        lambda: found if len(found := system.dead_letters("ledger")) == 4 else None,
    )

    assert reasons == ["partition_mismatch", "set_aside", "set_aside", "source_not_allowed"]
    assert len(system.events("ledger", "PaymentCaptured")) == 1
    system.publish("RenewalRequested", renewal(1, renewal_id="rnw-2"))
    system.wait_for(
        "the next honest event", lambda: len(system.events("ledger", "PaymentCaptured")) == 2
    )


def test_events_without_a_topic_of_their_own_are_refused(system: System) -> None:
    system.start("ledger")
    system.publish_raw(raw(1), topic=ORDERS.name)
    system.publish_raw(raw(1), topic=LEDGER.name)
    assert system.wait_for("refused", lambda: system.dead_letters("ledger")) == ["not_authentic"]


def test_compressed_requests_are_read(system: System) -> None:
    system.start("orders")
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for number, codec in enumerate(codecs):
        options = {
            "bootstrap.servers": system.infrastructure.bootstrap_servers,
            "compression.type": codec,
            "partitioner": "murmur2_random",
        }
        producer = Producer(options)
        key, value, headers = raw(number)
        padded = (value or b"") + b" " * 2_000  # so that compressing it is worth it
        producer.produce(REQUESTS.name, key=key, value=padded, headers=list(headers))
        assert producer.flush(30) == 0
    system.wait_for(
        "all renewals", lambda: len(system.events("orders", "PlanActivated")) == len(codecs)
    )


def test_flood_of_bad_requests_halts_nothing_fills_no_table_and_is_on_the_dead_letter_topic(
    system: System,
) -> None:
    system.start("orders")
    flood = [raw(number, value=b"{") for number in range(1_300)]
    system.publish_raw(*flood)
    system.publish("RenewalRequested", renewal(5_000))
    system.wait_for("the good renewal", lambda: system.events("orders", "PlanActivated"))
    topic = REQUESTS.dead_letter_topic("orders")
    # Records that come again before the cursor has passed them bring their letters again.
    accounts = {key for key, _, _ in flood}
    system.wait_for("the topic", lambda: {each.key for each in system.records(topic)} == accounts)
    assert len(system.dead_letters("orders")) == PER_SOURCE_MAX
    [counted] = system.query("orders", "SELECT sum(letters) AS n FROM dead_letter_overflow")
    assert counted["n"] == len(flood) - PER_SOURCE_MAX
    assert system.is_ready("orders")

"""From the bytes of a Kafka record to a CloudEvent, and from a stored event back to headers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import BILLING
from services.runtime.errors import Poison
from services.runtime.kafka.records.cloudevents import (
    binary_headers,
    read_record,
)
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.log.event_log import StoredEvent
from tests.controls import T0
from tests.unit.runtime.toy import ACCOUNT, Record, counted, request

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def reason_of(record: Record) -> str:
    with pytest.raises(Poison) as refused:
        read_record(record)
    assert len(refused.value.reason) <= 64
    return refused.value.reason


def structured(record: Record, **changes: Any) -> Record:
    """Return the same event in structured mode; a change to None removes an attribute."""
    attributes = {
        name.removeprefix("ce_"): (value or b"").decode()
        for name, value in record.headers
        if name.startswith("ce_")
    }
    document = attributes | {"data": json.loads(record.value or b"")} | changes
    record.value = json.dumps({k: v for k, v in document.items() if v is not None}).encode()
    record.headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    return record


def stored(**changes: Any) -> StoredEvent:
    event = StoredEvent(
        shard=1,
        position=7,
        stream_id="order/t-1",
        stream_version=3,
        event_id=UUID("00000000-0000-4000-8000-000000000007"),
        source="/billing/orders",
        type="billing.OrderExpired.v1",
        sequence=6,
        account_id=ACCOUNT,
        correlation_id="t-1",
        causation_id=UUID("00000000-0000-4000-8000-000000000001"),
        traceparent=TRACE,
        occurred_at=T0,
        recorded_at=T0 + timedelta(microseconds=1),
        body=counted().body(),
    )
    return event._replace(**changes)


def test_binary_event_is_read_from_headers_and_its_body_is_the_exact_value() -> None:
    record = request()
    envelope, body = read_record(record)
    assert envelope.type == "billing.TopUpRequested.v1"
    assert envelope.time == T0
    assert body is record.value


def test_structured_event_is_read_from_its_document() -> None:
    binary, _ = read_record(request())
    envelope, body = read_record(structured(request()))
    assert envelope == binary
    assert json.loads(body) == json.loads(request().value or b"")


def test_content_type_decides_the_mode_whatever_ce_headers_say() -> None:
    both = structured(request()).having("ce_type", b"billing.WalletCharged.v1")
    assert read_record(both)[0].type == "billing.TopUpRequested.v1"


def test_header_names_are_read_in_any_case() -> None:
    record = request()
    record.headers = [(name.upper(), value) for name, value in record.headers]
    assert read_record(record)[0] == read_record(request())[0]


def test_key_gives_the_partitionkey_and_must_agree_with_one_that_is_sent() -> None:
    assert read_record(request())[0].partitionkey == ACCOUNT
    assert reason_of(request().having("ce_partitionkey", b"acct-other")) == "key_mismatch"
    without_key = request()
    without_key.key = None
    assert reason_of(without_key) == "attributes_invalid"
    without_key.having("ce_partitionkey", ACCOUNT.encode())
    assert read_record(without_key)[0].partitionkey == ACCOUNT


def test_unknown_extensions_and_foreign_headers_are_passed_over_whatever_they_hold() -> None:
    record = request().having("ce_foo", b"bar").having("x-null", None).having("x-bytes", b"\xff")
    record.headers = [*record.headers, ("x-bytes", b"\xfe")]
    assert read_record(record)[0] == read_record(request())[0]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (request().having("ce_id", None), "header_null"),
        (request().having("content-type", None), "header_null"),
        (request().having("ce_unknown", None), "header_null"),
        (request().having("ce_id", b"\xff"), "not_utf8"),
        (request().having("CE_ID", b"00000000-0000-4000-8000-000000000001"), "header_repeated"),
        (request().without("ce_id"), "attributes_invalid"),
        (request().without("ce_source"), "attributes_invalid"),
        (request().without("ce_type"), "attributes_invalid"),
        (request().without("ce_time"), "attributes_invalid"),
        (request().having("ce_time", b"yesterday"), "attributes_invalid"),
        (request().having("ce_time", b"2026-11-20T08:00:00"), "attributes_invalid"),
        (request().having("ce_id", b"not-a-uuid"), "attributes_invalid"),
        (request().having("ce_source", b"https://example.org"), "attributes_invalid"),
        (request().having("ce_sequence", b"0"), "attributes_invalid"),
        (request().having("ce_subject", b"order\0"), "nul_character"),
        (request().without("ce_specversion"), "specversion_unsupported"),
        (request().having("ce_specversion", b"0.3"), "specversion_unsupported"),
        (structured(request(), specversion="2.0"), "specversion_unsupported"),
        (structured(request(), data=None), "not_a_cloudevent"),
        (structured(request(), data="text"), "not_a_cloudevent"),
        (structured(request(), id=7), "attributes_invalid"),
        (structured(request(), subject="order\0"), "nul_character"),
        (structured(request(), source={"a": 1}), "attributes_invalid"),
    ],
)
def test_wrong_attribute_is_poison(record: Record, reason: str) -> None:
    assert reason_of(record) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b" " * (BODY_BYTES_MAX + 1), "oversized"),
        (b"\xff\xfe", "not_json"),
        (b"", "not_json"),
        (b"[" * 50_000, "not_json"),
        (b"[]", "not_a_cloudevent"),
        (b'{"specversion":"1.0","data":{"name":"\\ud800"}}', "not_utf8"),
    ],
)
def test_wrong_structured_value_is_poison(value: bytes | None, reason: str) -> None:
    record = structured(request())
    record.value = value
    assert reason_of(record) == reason


def test_record_without_any_sign_of_a_cloudevent_is_poison() -> None:
    record = request()
    record.headers = [("content-type", b"application/json")]
    assert reason_of(record) == "not_a_cloudevent"


def test_value_of_exactly_the_limit_is_read() -> None:
    record = request()
    record.value = b" " * BODY_BYTES_MAX
    assert read_record(record)[1] == record.value


def test_key_that_is_not_utf8_is_poison() -> None:
    record = request()
    record.key = b"\xff"
    assert reason_of(record) == "not_utf8"


def test_refusal_names_the_attribute_and_not_its_value() -> None:
    with pytest.raises(Poison) as refused:
        read_record(request().having("ce_time", b"SECRET").having("ce_id", b"SECRET"))
    assert "time: " in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_stored_event_is_sent_under_the_names_of_the_binding() -> None:
    chained = stored(hash=b"\x07" * 32)
    names = [name for name, _ in binary_headers(chained, BILLING)]
    assert sorted(names) == sorted(
        [
            *("content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_dataschema"),
            *("ce_subject", "ce_time", "ce_recordedtime", "ce_partitionkey", "ce_correlationid"),
            *("ce_causationid", "ce_sequence", "ce_streamversion", "ce_traceparent"),
            "ce_chainhash",
        ]
    )


@pytest.mark.parametrize(
    "event",
    [
        stored(),
        stored(causation_id=None, traceparent=None),
        stored(body=b'{"account_id": "acct-1",  "spaces":"kept"}'),
    ],
)
def test_stored_event_comes_back_whole_from_its_binary_headers(event: StoredEvent) -> None:
    record = Record(
        "t", 1, 0, event.account_id.encode(), event.body, list(binary_headers(event, BILLING))
    )
    envelope, body = read_record(record)
    assert body == event.body
    assert (envelope.id, envelope.source, envelope.type) == (
        event.event_id,
        event.source,
        event.type,
    )
    assert (envelope.subject, envelope.streamversion) == (event.stream_id, event.stream_version)
    assert envelope.sequence == event.sequence
    assert (envelope.time, envelope.recordedtime) == (event.occurred_at, event.recorded_at)
    assert (envelope.correlationid, envelope.causationid) == (
        event.correlation_id,
        event.causation_id,
    )
    assert envelope.traceparent == event.traceparent
    assert (
        envelope.dataschema
        == BILLING.data_schema(event.type)
        == "urn:perennial:schema:OrderExpired.v1"
    )


@given(
    value=st.none() | st.binary(max_size=200),
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_specversion", "ce_type", "content-type", "x"]),
            st.none()
            | st.binary(max_size=40)
            | st.sampled_from([b"1.0", b"application/cloudevents+json"]),
        ),
        max_size=8,
    ),
)
def test_no_bytes_raise_anything_but_poison(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    assert reason_of(Record("t", 0, 0, key, value, headers))

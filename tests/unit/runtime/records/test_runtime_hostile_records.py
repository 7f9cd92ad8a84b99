"""Records whose sender means harm: reading them gives poison, whatever they are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.requests import TopUpRequested
from services.runtime.errors import Halt, Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.flow.letters.letters import dead_letter, source_of
from services.runtime.kafka.records.cloudevents import validation_summary
from services.runtime.log.event_log import DeadLetter
from services.runtime.processor import Processor, Task
from tests.controls import T0
from tests.unit.runtime.toy import (
    ACCOUNT,
    FIELDS,
    SHARDS,
    TOPICS,
    Record,
    Toy,
    low_balance,
    request,
)

EXTREME_TIMES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+00:01",
    "3000-01-01T00:00:00Z",
    "2999-12-31T23:59:59-00:01",
)


def poison(record: Record, processor: Processor | None = None) -> Poison:
    parsed = RecordParser(processor or Toy().processor(), SHARDS).parse(record, T0)
    assert parsed.poison is not None
    assert parsed.work is None
    return parsed.poison


def structured(**attributes: Any) -> Record:
    """Return a structured request with some of its attributes replaced; None leaves one out."""
    record = request()
    assert record.value is not None
    document = {
        "specversion": "1.0",
        "id": "7d444840-9dc0-41c2-9f0a-4f9f5e2c6a11",
        "source": "/upstream/toys",
        "type": "billing.TopUpRequested.v1",
        "time": "2026-11-20T08:00:00Z",
        "data": json.loads(record.value),
    } | attributes
    record.value = json.dumps(document).encode()
    record.headers = [("content-type", b"application/cloudevents+json")]
    return record


@pytest.mark.parametrize("time", EXTREME_TIMES)
def test_time_that_no_calendar_of_ours_holds_is_poison_that_says_the_bounds(time: str) -> None:
    in_header = poison(request().having("ce_time", time.encode()))
    assert in_header.reason == "attributes_invalid"
    assert "1970 to 2999" in str(in_header)

    record = request()
    assert record.value is not None
    record.value = json.dumps(json.loads(record.value) | {"requested_at": time}).encode()
    in_body = poison(record)
    assert in_body.reason == "body_invalid"
    assert "1970 to 2999" in str(in_body)

    assert poison(structured(time=time)).reason == "attributes_invalid"
    assert poison(low_balance(1).having("ce_recordedtime", time.encode())).reason == (
        "attributes_invalid"
    )


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59.999999Z"])
def test_time_at_the_bounds_is_taken(time: str) -> None:
    parsed = RecordParser(Toy().processor(), SHARDS).parse(
        request().having("ce_time", time.encode()), T0
    )
    assert parsed.work is not None


@pytest.mark.parametrize(
    "record",
    [
        structured(sequence=10**400),
        structured(sequence="9" * 30),
        structured(sequence=float("inf"), time=None),
        structured(id={"a": [1] * 9}),
        structured(subject="\ud800"),
        structured(data={"\ud800": 1}),
        structured(data={"amount": float("nan")}),
        request().having("ce_sequence", b"1" * 5_000),
        request().having("ce_streamversion", b"9" * 30),
        request().having("ce_time", b"1" * 5_000),
        request().having("ce_time", b"1e400"),
        request().having("ce_partitionkey", "a\ud7ff".encode()),
    ],
)
def test_number_text_and_nesting_of_any_size_are_poison(record: Record) -> None:
    assert poison(record).reason in {
        "attributes_invalid",
        "body_invalid",
        "not_json",
        "not_utf8",
    }


@pytest.mark.parametrize(
    "value",
    [
        b'{"data":' + b"[" * 30_000,
        b'{"data":{"a":' + b'{"a":' * 9_000 + b"1" + b"}" * 9_002,
        b'{"data":{"n":' + b"9" * 60_000 + b"}}",
    ],
)
def test_structured_event_of_any_depth_and_any_digits_is_poison(value: bytes) -> None:
    record = structured()
    record.value = value
    assert poison(record).reason in {"not_json", "specversion_unsupported"}


@pytest.mark.parametrize(
    "error", [OverflowError("lin@example.org"), RecursionError(), KeyError("lin@example.org")]
)
def test_unforeseen_error_while_reading_is_poison_that_names_its_type_alone(
    error: Exception,
) -> None:
    def breaks(*_: object) -> Task:
        raise error

    processor = Toy().processor()
    for model in processor.handlers:
        processor.handlers[model] = breaks  # type: ignore[index]
    found = poison(request(), processor)
    assert found.reason == "unreadable"
    assert type(error).__name__ in str(found)
    assert "lin@" not in str(found)


def test_halt_of_a_handler_halts() -> None:
    def halts(*_: object) -> Task:
        raise Halt("stop")

    processor = Toy().processor()
    for model in processor.handlers:
        processor.handlers[model] = halts  # type: ignore[index]
    with pytest.raises(Halt):
        RecordParser(processor, SHARDS).parse(request(), T0)


def test_summary_of_what_is_wrong_repeats_no_key_of_the_sender_and_stays_short() -> None:
    keys = {"lin@example.org" + "x" * 9_000: 1, "lin_chen": 2, "": 3}
    with pytest.raises(ValidationError) as failed:
        TopUpRequested.model_validate({"account_id": "a", "payment": keys} | keys)
    told = validation_summary(failed.value, FIELDS)
    assert "lin" not in told
    assert "payment.method" in told
    assert len(told) < 500


@pytest.mark.parametrize(
    ("record", "source", "account_id"),
    [
        (request(), "/upstream/toys", ACCOUNT),
        (structured(), "/upstream/toys", ACCOUNT),
        (structured(data={}, partitionkey="acct-7"), "/upstream/toys", "acct-7"),
        (request().having("ce_source", b"/billing/orders"), "unknown", ACCOUNT),
        (request().having("ce_source", b"/upstream/" + b"a" * 99), "unknown", ACCOUNT),
        (request().without("ce_source"), "unknown", ACCOUNT),
        (low_balance(1), "/billing/ledger", ACCOUNT),
        (low_balance(1).having("ce_source", b"/billing/orders"), "unknown", ACCOUNT),
        (low_balance(1).having("ce_source", b"/upstream/toys"), "unknown", ACCOUNT),
    ],
)
def test_letter_says_whom_a_record_is_from_and_about(
    record: Record, source: str, account_id: str
) -> None:
    letter = dead_letter(record, Poison("unlucky", "a test"), T0, TOPICS)
    assert (letter.source, letter.account_id) == (source, account_id)
    assert source_of(record, TOPICS) == source


@pytest.mark.parametrize("name", ["ce_partitionkey", "CE_PARTITIONKEY", "Ce-PartitionKey"])
def test_account_is_found_however_its_header_is_spelled(name: str) -> None:
    record = request().having(name, b"acct-9")
    record.key, record.value = None, b"{"
    assert dead_letter(record, Poison("unlucky", "a test"), T0, TOPICS).account_id == "acct-9"


def test_letter_holds_the_record_as_it_arrived_and_why() -> None:
    record = request(17)
    letter = dead_letter(record, Poison("unlucky", "a test"), T0, TOPICS)
    assert letter == DeadLetter(
        topic="billing.requests.v1",
        partition=record.partition,
        record_offset=17,
        key=b"acct-1",
        value=record.value,
        headers=tuple(record.headers),
        reason="unlucky",
        detail="a test",
        attempts=1,
        dead_lettered_at=T0,
        source="/upstream/toys",
        account_id="acct-1",
        parked_shard=None,
        whole=None,
    )


@pytest.mark.parametrize("value", [None, b"[]", b"\xff", b"[" * 60_000, b'{"account_id": 5}'])
def test_account_that_nothing_says_in_a_usable_form_is_unknown(value: bytes | None) -> None:
    record = request()
    record.key, record.value, record.headers = b"\xff" * 300, value, [("ce_partitionkey", None)]
    assert dead_letter(record, Poison("unlucky", "a test"), T0, TOPICS).account_id is None

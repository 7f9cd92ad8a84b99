"""Every refusal of a record, word for word: its sender has nothing else to go by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.runtime.errors import Poison
from services.runtime.kafka.records.cloudevents import check_body, read_record
from services.runtime.kafka.records.record_size import HEADER_BYTES_MAX
from tests.unit.runtime.records.test_runtime_cloudevents import TRACE, structured
from tests.unit.runtime.toy import FIELDS, Record, request

NO_EVENT = (
    "a structured event is a JSON object with its attributes, and an object `data` or `data_base64`"
)
CONTENT_TYPE = (
    "send content-type application/json for data alone, "
    "application/cloudevents+json for a whole event"
)
LIMITS = "the limits are 65536 of value, 1024 of key, 8192 of a header and 65536 of all"
TIME = "the time must be RFC 3339 with an offset, such as 2026-11-20T08:00:00Z"
NULL = "null is no value, leave the field out"


def refusal(record: Record) -> tuple[str, str]:
    with pytest.raises(Poison) as refused:
        read_record(record, FIELDS)
    return refused.value.reason, str(refused.value)


def valued(record: Record, value: bytes | None) -> Record:
    record.value = value
    return record


def keyed(record: Record, key: bytes | None) -> Record:
    record.key = key
    return record


def bare(*headers: tuple[str, bytes | None]) -> Record:
    record = request()
    record.headers = headers
    return record


@pytest.mark.parametrize(
    ("record", "reason", "message"),
    [
        (
            bare(),
            "not_a_cloudevent",
            "no ce_ headers and no structured content type: see docs/PUBLISHING.md",
        ),
        (
            bare(("ce_mine", b"1"), ("content-type", b"application/json")),
            "not_a_cloudevent",
            "no ce_ headers and no structured content type: see docs/PUBLISHING.md",
        ),
        (
            request().without("ce_specversion"),
            "specversion_unsupported",
            "set the attribute specversion to 1.0",
        ),
        (
            request().having("ce_subject", b"\0"),
            "nul_character",
            "an attribute holds a NUL, which CloudEvents rules out",
        ),
        (keyed(request(), b"\xff"), "not_utf8", "the message key is not UTF-8"),
        (
            request().having("ce_partitionkey", b"acct-2"),
            "key_mismatch",
            "the message key and partitionkey differ: use the account_id for both",
        ),
        (
            valued(request(), None),
            "null_value",
            "the message has no value: publish the event's JSON as the value",
        ),
        (
            valued(keyed(bare(), None), b"v" * 65_537),
            "oversized",
            "the record has 65537 bytes: " + LIMITS,
        ),
        (
            request().having("ce_id", None),
            "header_null",
            "a ce_ header or content-type is null: send UTF-8 text",
        ),
        (
            request().having("CE_ID", b"x"),
            "header_repeated",
            "a ce_ header or content-type is sent twice: send it once",
        ),
        (
            request().having("ce_id", b"\xff"),
            "not_utf8",
            "a ce_ header or content-type is not UTF-8",
        ),
        (
            request().having("content-type", b"text/plain"),
            "content_type_unsupported",
            CONTENT_TYPE,
        ),
        (
            request().having("content-type", b"application/json; charset=latin-1"),
            "content_type_unsupported",
            CONTENT_TYPE,
        ),
        (
            structured(request(), datacontenttype="text/plain"),
            "content_type_unsupported",
            CONTENT_TYPE,
        ),
        (structured(request(), datacontenttype=7), "content_type_unsupported", CONTENT_TYPE),
        (valued(structured(request()), b"[]"), "not_a_cloudevent", NO_EVENT),
        (valued(structured(request()), b"{"), "not_json", "the structured event is not JSON"),
        (structured(request(), data=None), "not_a_cloudevent", NO_EVENT),
        (structured(request(), data_base64="e30="), "not_a_cloudevent", NO_EVENT),
        (structured(request(), data="e30="), "not_a_cloudevent", NO_EVENT),
        (
            structured(request(), data=None, data_base64="e30=!"),
            "not_a_cloudevent",
            "`data_base64` is not base64",
        ),
        (
            structured(request(), data={"name": "\ud800"}),
            "not_utf8",
            "the structured event holds a lone surrogate",
        ),
        (
            structured(request(), data={"amount": {"currency": None}, "strange": [None]}),
            "body_invalid",
            f"amount.currency: {NULL}; (key).0: {NULL}",
        ),
        (
            structured(request(), id=None, time="now"),
            "attributes_invalid",
            f"id: is missing; time: {TIME}",
        ),
    ],
)
def test_refusal_says_what_is_wrong_and_what_to_do(
    record: Record, reason: str, message: str
) -> None:
    assert refusal(record) == (reason, message)


def test_more_than_five_problems_are_counted() -> None:
    names = ("ce_id", "ce_source", "ce_type", "ce_time")
    record = keyed(request().without(*names), None)
    record.having("ce_sequence", b"x").having("ce_streamversion", b"y")
    reason, message = refusal(record)
    assert reason == "attributes_invalid"
    assert message.count("; ") == 5
    assert message.endswith("; and 2 more")


@pytest.mark.parametrize("problems", [5, 6])
def test_five_problems_are_all_told(problems: int) -> None:
    names = ("ce_id", "ce_source", "ce_type", "ce_time")
    record = keyed(request().without(*names), None)
    if problems > 5:
        record.having("ce_sequence", b"x")
    assert refusal(record)[1].endswith("; and 1 more") is (problems > 5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"[" * 50_000, "the body is not JSON"),
        (b'{"a":NaN}', "the body is not JSON"),
        (b"null", f"body: {NULL}"),
        (b'{"topup_id":null}', f"topup_id: {NULL}"),
        (b'{"topup_id":[0,null]}', f"topup_id.1: {NULL}"),
        (
            b'{"mine":null,"amount":{"currency":null}}',
            f"(key): {NULL}; amount.currency: {NULL}",
        ),
    ],
)
def test_body_that_two_readers_take_in_two_ways_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(Poison) as refused:
        check_body(body, FIELDS)
    assert (refused.value.reason, str(refused.value)) == ("body_invalid", message)


def test_refusal_of_nulls_is_cut_and_a_deep_place_too() -> None:
    path = ["amount"] * 12
    value: Any = None
    for name in reversed(path):
        value = {name: value}
    with pytest.raises(Poison) as refused:
        check_body(json.dumps(value).encode(), FIELDS)
    assert str(refused.value) == f"{'.'.join(path[:8])}: {NULL}"
    long = {"amount": {"activated_at": {"correlationid": {"recordedtime": None}}}}
    places = [f"{number}.amount.activated_at.correlationid.recordedtime" for number in range(5)]
    with pytest.raises(Poison) as refused:
        check_body(json.dumps([long] * 6).encode(), FIELDS)
    assert str(refused.value) == "; ".join(f"{place}: {NULL}" for place in places)[:400]


def test_words_without_null_in_them_are_no_null() -> None:
    check_body(b'{"a":"null"}', FIELDS)
    check_body(b'{"a":0,"b":[],"c":false}', FIELDS)


def test_attributes_of_a_structured_event_may_be_null_and_numbers_are_read() -> None:
    record = structured(request())
    document = json.loads(record.value or b"")
    record.value = json.dumps(document | {"subject": None, "sequence": 7, "mine": 1}).encode()
    envelope, body = read_record(record)
    assert (envelope.subject, envelope.sequence) == (None, 7)
    assert body == json.dumps(document["data"], separators=(",", ":")).encode()


def test_data_in_base64_is_the_body_to_the_byte() -> None:
    record = structured(request(), data=None, data_base64="eyAiYSIgOiAxIH0=")
    assert read_record(record)[1] == b'{ "a" : 1 }'


def test_structured_body_keeps_its_letters() -> None:
    assert read_record(structured(request(), data={"a": "é"}))[1] == '{"a":"é"}'.encode()


@pytest.mark.parametrize("media", ["application/json", 'APPLICATION/JSON; charset="UTF-8"'])
def test_type_of_json_is_read_as_it_is_written(media: str) -> None:
    record = request().having("content-type", media.encode())
    assert read_record(record)[1] == record.value


@pytest.mark.parametrize("sent", [[None], [b"a\0b"], [b"\xff"], [TRACE.encode(), b"two"]])
def test_broken_trace_context_is_none_and_refuses_nothing(sent: list[bytes | None]) -> None:
    record = request()
    record.headers = [*record.headers, *(("ce_traceparent", value) for value in sent)]
    assert read_record(record)[0].traceparent is None


def test_broken_trace_context_of_a_structured_event_refuses_nothing() -> None:
    assert read_record(structured(request(), traceparent="a\0b"))[0].traceparent is None
    assert read_record(structured(request(), traceparent=TRACE))[0].traceparent == TRACE


def test_header_at_its_limit_is_read() -> None:
    record = request().having("ce_mine", b"x" * HEADER_BYTES_MAX)
    assert read_record(record)[0] == read_record(request())[0]

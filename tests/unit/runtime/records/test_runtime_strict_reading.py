"""What two readers could take in two ways is refused: times, nulls, repeated keys, other types."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from services.runtime.errors import Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.kafka.records.cloudevents import read_record
from tests.controls import T0
from tests.unit.runtime.records.test_runtime_cloudevents import structured
from tests.unit.runtime.toy import SHARDS, Record, Toy, request

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_RFC_3339 = [
    "1700000000",
    "1700000000.5",
    "2026-11-21 08:00:00Z",
    "2026-11-21T08:00:00,5Z",
    "2026-11-21T08:00Z",
    "2026-11-21T08:00:00",
    "2026-11-21T08:00:00+0800",
    "2026-11-21T08:00:00+08",
    "20261121T080000Z",
    "2026-W47-5T08:00:00Z",
    "2026-11-21T08:00:60Z",
    "2026-11-21T24:00:00Z",
    "2026-11-31T08:00:00Z",
    "2026-11-21T08:00:00.Z",
    " 2026-11-21T08:00:00Z",
    "2026-11-21T08:00:00Z\n",
    "\uff12\uff10\uff12\uff16-11-21T08:00:00Z",
    "+02026-11-21T08:00:00Z",
    "2026-11-21T08:00:00+24:00",
]
RFC_3339 = [
    "2026-11-20T08:00:00Z",
    "2026-11-20t08:00:00z",
    "2026-11-20T16:00:00.000000+08:00",
    "2026-11-20T08:00:00.000000000Z",
    "2026-11-20T08:00:00-00:00",
]


def refusal(record: Record) -> Poison:
    parsed = RecordParser(Toy().processor(), SHARDS).parse(record, T0)
    assert parsed.poison is not None
    assert parsed.work is None
    return parsed.poison


def data(**changed: Any) -> Record:
    record = request()
    record.value = json.dumps(json.loads(record.value or b"") | changed).encode()
    return record


def payment(token: str) -> dict[str, str]:
    return {"method": "card", "mode": "charge", "currency": "USD", "token": token}


@pytest.mark.parametrize("text", NOT_RFC_3339)
def test_time_that_is_not_rfc_3339_is_refused_in_headers_and_in_data(text: str) -> None:
    assert refusal(request().having("ce_time", text.encode())).reason == "attributes_invalid"
    refused = refusal(data(requested_at=text))
    assert refused.reason == "body_invalid"
    assert "requested_at" in str(refused)
    assert text.strip() not in str(refused)


@pytest.mark.parametrize("moment", [1_700_000_000, 1.5, True, ["2026-11-20T08:00:00Z"], {}])
def test_time_that_is_no_text_is_refused(moment: object) -> None:
    assert refusal(data(requested_at=moment)).reason == "body_invalid"


@pytest.mark.parametrize("text", RFC_3339)
def test_rfc_3339_is_read_to_the_microsecond(text: str) -> None:
    assert read_record(request().having("ce_time", text.encode()))[0].time == T0


@pytest.mark.parametrize(
    "changed",
    [
        {"contact": None},
        {"later_field": None},
        {"payment": payment("tok_ok") | {"token": None}},
        {"contact": {"email": "a@example.com", "phone": None}},
        {"later": [{"field": None}]},
    ],
)
def test_null_is_refused_wherever_it_stands(changed: dict[str, Any]) -> None:
    binary, whole = refusal(data(**changed)), refusal(structured(data(**changed)))
    assert binary.reason == whole.reason == "body_invalid"
    assert "leave the field out" in str(binary)


def test_null_attribute_of_a_structured_event_is_one_that_is_left_out() -> None:
    record = structured(request())
    record.value = json.dumps(json.loads(record.value or b"") | {"dataschema": None}).encode()
    assert read_record(record)[0].dataschema is None


def test_the_word_null_in_a_text_is_no_null() -> None:
    assert RecordParser(Toy().processor(), SHARDS).parse(data(note="null"), T0).work is not None


@pytest.mark.parametrize("twice", [b'{"account_id":"acct-other",', b'{"x":1,"x":1,'])
def test_key_that_an_object_names_twice_is_refused(twice: bytes) -> None:
    binary, whole = request(), structured(request())
    for record in (binary, whole):
        assert record.value is not None
        record.value = record.value.replace(b"{", twice, 1)
    binary.value = (binary.value or b"").replace(b'"x":1,"x":1,', b'"x":{"y":1,"y":2},')
    if twice.startswith(b'{"account_id"'):
        whole.value = (whole.value or b"").replace(twice, b'{"id":"other","id":"again",')
    assert refusal(binary).reason == "key_repeated"
    assert refusal(whole).reason == "key_repeated"


@pytest.mark.parametrize(
    "token",
    [
        *["4111111111111111", "4111-1111-1111-1111", "5555_5555_5555_4444", "378282246310005"],
        *["tok_4111111111111111", "card-4111-1111-1111-1111"],
        *["4111111111111111-12-28", "4111-1111-1111-1111-123", "tok_4111111111111111_1228"],
    ],
)
def test_token_with_the_digits_of_a_card_is_refused_and_not_repeated(token: str) -> None:
    refused = refusal(data(payment=payment(token)))
    assert refused.reason == "body_invalid"
    assert "card number" in str(refused)
    assert token not in str(refused)


@pytest.mark.parametrize(
    "token",
    ["4111111111111112", "41111111111", "tok_4111111111111112", "tok_a4111111111111111", "0", "-"],
)
def test_token_that_is_no_card_number_is_taken(token: str) -> None:
    record = data(payment=payment(token))
    assert RecordParser(Toy().processor(), SHARDS).parse(record, T0).work is not None


@pytest.mark.parametrize(
    "trace",
    [
        *[None, b"", b"00-zz", b"\xff\xfe", b"a\0b", b"x" * 8_000],
        *[TRACE.upper(), b"ff" + TRACE[2:]],
        *[b"00-" + b"0" * 32 + TRACE[35:], TRACE[:36] + b"0" * 16 + TRACE[52:]],
    ],
)
def test_broken_trace_context_is_passed_over(trace: bytes | None) -> None:
    assert read_record(request().having("ce_traceparent", trace))[0].traceparent is None
    if trace is not None:
        whole = structured(request(), traceparent=trace[:99].decode(errors="replace"))
        assert read_record(whole)[0].traceparent is None


def test_trace_context_that_is_sent_twice_is_passed_over_and_a_good_one_is_kept() -> None:
    once = request().having("ce_traceparent", TRACE)
    assert read_record(once)[0].traceparent == TRACE.decode()
    once.headers = [*once.headers, ("CE_traceparent", TRACE)]
    assert read_record(once)[0].traceparent is None


def test_data_in_base64_is_the_body() -> None:
    record = structured(request(), data=None)
    document = json.loads(record.value or b"")
    document["data_base64"] = base64.b64encode(request().value or b"").decode()
    record.value = json.dumps(document).encode()
    assert read_record(record)[1] == request().value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_base64": "e30="}, "not_a_cloudevent"),
        ({"data": None, "data_base64": "not base64!"}, "not_a_cloudevent"),
        ({"data": None, "data_base64": 7}, "not_a_cloudevent"),
        ({"data": None, "data_base64": "\u00e9"}, "not_a_cloudevent"),
        (
            {"data": None, "data_base64": base64.b64encode(b'{"a":1,"a":2}').decode()},
            "key_repeated",
        ),
        ({"data": None, "data_base64": base64.b64encode(b"[]").decode()}, "body_invalid"),
        ({"datacontenttype": "application/xml"}, "content_type_unsupported"),
        ({"datacontenttype": 7}, "content_type_unsupported"),
    ],
)
def test_structured_event_holds_its_data_in_one_way(changes: dict[str, Any], reason: str) -> None:
    assert refusal(structured(request(), **changes)).reason == reason


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"text/plain",
        b"application/json; charset=latin-1",
        b"application/jsonl",
        b"application/cloudevents-batch+json",
        b"application/cloudevents+avro",
    ],
)
def test_other_content_type_is_refused(content_type: bytes) -> None:
    refused = refusal(request().having("content-type", content_type))
    assert refused.reason == "content_type_unsupported"


@pytest.mark.parametrize(
    "content_type", [b"application/json", b'Application/JSON ; charset="UTF-8"', None]
)
def test_json_in_any_spelling_and_no_content_type_are_taken(content_type: bytes | None) -> None:
    record = request().without("content-type")
    if content_type is not None:
        record.having("content-type", content_type)
    assert read_record(record)[1] == request().value


@pytest.mark.parametrize(
    "text",
    [
        "00000000000040008000000000000001",
        "{00000000-0000-4000-8000-000000000001}",
        "urn:uuid:00000000-0000-4000-8000-000000000001",
    ],
)
def test_id_is_a_uuid_in_one_spelling(text: str) -> None:
    assert refusal(request().having("ce_id", text.encode())).reason == "attributes_invalid"


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_number_of_json_does_not_switch_strict_reading_off(constant: bytes) -> None:
    record = request()
    assert record.value is not None
    record.value = record.value.replace(b"{", b'{"x":' + constant + b',"topup_id":"other",', 1)
    assert refusal(record).reason == "body_invalid"

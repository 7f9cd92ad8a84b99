"""The CloudEvents 1.0 Kafka binding: binary and structured in, binary out.

Reading never raises anything but `Poison`, whatever the bytes. The mode is chosen by `content-type`
alone: a structured message may carry stray `ce_` headers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

from pydantic import ValidationError

from schemas.envelope import SCHEMA_BASE_URI, SPEC_VERSION, Envelope, utc_text
from services.runtime.errors import Poison
from services.runtime.log.event_log import StoredEvent

JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
BODY_BYTES_MAX: Final = 64 * 1024
"""A billing fact is a few hundred bytes; anything this large is not one."""

Headers = Sequence[tuple[str, bytes | None]]
_ATTRIBUTES: Final = frozenset({"specversion", *Envelope.model_fields})
_CONTENT_TYPE: Final = "content-type"
_NAME_OF: Final = {f"ce_{name}": name for name in _ATTRIBUTES} | {_CONTENT_TYPE: _CONTENT_TYPE}


class Record(Protocol):
    """What we use of aiokafka's ConsumerRecord."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def data_schema(event_type: str) -> str:
    """Return the `dataschema` URI of `billing.<EventName>.v<major>`."""
    return SCHEMA_BASE_URI + event_type.removeprefix("billing.")


def read_record(record: Record) -> tuple[Envelope, bytes]:
    """Return the attributes and the body bytes of a Kafka record.

    Raises:
        Poison: it is not a CloudEvent that we can read; `reason` is a stable code.
    """
    if record.value is None:
        raise Poison(
            "null_value", "the message has no value: publish the event's JSON as the value"
        )
    if len(record.value) > BODY_BYTES_MAX:
        message = f"the value has {len(record.value)} bytes: the limit is {BODY_BYTES_MAX}"
        raise Poison("oversized", message)
    attributes, body = _texts(record.headers), record.value
    content_type = attributes.pop(_CONTENT_TYPE, "")
    if content_type != JSON and _media_type(content_type) == STRUCTURED:
        attributes, body = _structured(record.value)
    elif not attributes.keys() & _ATTRIBUTES:
        message = "no ce_ headers and no structured content type: see docs/PUBLISHING.md"
        raise Poison("not_a_cloudevent", message)
    if attributes.get("specversion") != SPEC_VERSION:
        message = f"set the attribute specversion to {SPEC_VERSION}"
        raise Poison("specversion_unsupported", message)
    if "\0" in "".join(attributes.values()):
        raise Poison("nul_character", "an attribute holds a NUL, which CloudEvents rules out")
    if record.key is not None:
        attributes.setdefault("partitionkey", _utf8(record.key, "the message key"))
    try:
        envelope = Envelope.model_validate(attributes)
    except ValidationError as error:
        raise Poison("attributes_invalid", validation_summary(error)) from None
    if record.key is not None and record.key != envelope.partitionkey.encode():
        message = "the message key and partitionkey differ: use the account_id for both"
        raise Poison("key_mismatch", message)
    return envelope, body


def binary_headers(event: StoredEvent) -> list[tuple[str, bytes]]:
    """Return the headers of a stored event in binary mode; the value is `event.body`, untouched."""
    headers = [
        *_fixed_headers(event.source, event.type),
        ("ce_id", str(event.event_id).encode()),
        ("ce_subject", event.stream_id.encode()),
        ("ce_time", utc_text(event.occurred_at).encode()),
        ("ce_recordedtime", utc_text(event.recorded_at).encode()),
        ("ce_partitionkey", event.account_id.encode()),
        ("ce_correlationid", event.correlation_id.encode()),
        ("ce_sequence", b"%020d" % event.sequence),
        ("ce_streamversion", b"%d" % event.stream_version),
    ]
    if event.causation_id is not None:
        headers.append(("ce_causationid", str(event.causation_id).encode()))
    if event.traceparent is not None:
        headers.append(("ce_traceparent", event.traceparent.encode()))
    return headers


@cache
def _fixed_headers(source: str, event_type: str) -> tuple[tuple[str, bytes], ...]:
    """Return what is the same in all events of a type."""
    return (
        (_CONTENT_TYPE, JSON.encode()),
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_dataschema", data_schema(event_type).encode()),
    )


def validation_summary(error: ValidationError) -> str:
    """Say which fields are wrong and how, without any value that was sent."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in problems[:5]
    )
    return told + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")  # noqa: PLR2004


def _texts(headers: Headers) -> dict[str, str]:
    """Return the attributes, extensions that we do not know by their header's name, and the type."""
    texts: dict[str, str] = {}
    try:
        for header, value in headers:
            name = _NAME_OF.get(header) or _name_of(header.lower())
            if name is None:
                continue
            if value is None:
                raise Poison("header_null", "a ce_ header or content-type is null: send UTF-8 text")
            if name in texts:
                raise Poison(
                    "header_repeated", "a ce_ header or content-type is sent twice: send it once"
                )
            texts[name] = value.decode()
    except UnicodeDecodeError:
        raise Poison("not_utf8", "a ce_ header or content-type is not UTF-8") from None
    return texts


def _name_of(header: str) -> str | None:
    return _NAME_OF.get(header) or (header if header.startswith("ce_") else None)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _utf8(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Poison("not_utf8", f"{what} is not UTF-8") from None


def _structured(value: bytes) -> tuple[dict[str, str], bytes]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        raise Poison("not_json", "the structured event is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        message = "a structured event is a JSON object with its attributes and an object `data`"
        raise Poison("not_a_cloudevent", message)
    body = json.dumps(document["data"], ensure_ascii=False, separators=(",", ":"))
    attributes = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in document.items()
        if name in _ATTRIBUTES and value is not None
    }
    return attributes, _encoded(body)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Poison("not_utf8", "the structured event holds a lone surrogate") from None

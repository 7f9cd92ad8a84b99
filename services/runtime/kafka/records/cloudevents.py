"""The CloudEvents 1.0 Kafka binding: binary and structured in, binary out.

Reading raises `Poison` for whatever is wrong with the bytes. The mode is chosen by `content-type`
alone: a structured message may carry stray `ce_` headers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from functools import cache, partial
from typing import Any, Final, Protocol

from pydantic import ValidationError

from schemas.envelope import SPEC_VERSION, Envelope, utc_text
from schemas.registry import EventRegistry
from services.runtime.authenticity import CHAIN_HASH
from services.runtime.errors import Poison
from services.runtime.kafka.records.record_size import (
    Head,
    Headers,
    UnreadBatch,
    beginning,
    too_large,
)
from services.runtime.kafka.records.strict_json import Path, nulls, read_json
from services.runtime.log.event_log import StoredEvent
from services.runtime.plain_words import problems_of

JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
_SUMMARY_CHARACTERS_MAX: Final = 400
_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_NO_EVENT: Final = (
    "a structured event is a JSON object with its attributes, and an object `data` or `data_base64`"
)
_ATTRIBUTES: Final = frozenset({"specversion", *Envelope.model_fields})
_CONTENT_TYPE: Final = "content-type"
_NAMES: Final = frozenset({*Envelope.model_fields, *range(100), "[key]"})
"""What a message may repeat of any record: attributes, and small positions in lists."""
_TRACE: Final = "traceparent"
_NAME_OF: Final = {f"ce_{name}": name for name in _ATTRIBUTES} | {_CONTENT_TYPE: _CONTENT_TYPE}


class Record(Protocol):
    """What we use of aiokafka's ConsumerRecord."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def read_record(record: Record, fields: Collection[str] = frozenset()) -> tuple[Envelope, bytes]:
    """Return the attributes and the body bytes of a Kafka record.

    What is refused of a body is named only where it is one of `fields`.

    Raises:
        Poison: it is not a CloudEvent that we can read; `reason` is a stable code.
    """
    value = _value(record)
    attributes, body = _texts(record.headers), value
    content_type = attributes.pop(_CONTENT_TYPE, JSON)
    if content_type != JSON and _media_type(content_type) == STRUCTURED:
        attributes, body = _structured(value, fields)
    elif not attributes.keys() & _ATTRIBUTES:
        message = "no ce_ headers and no structured content type: see docs/PUBLISHING.md"
        raise Poison("not_a_cloudevent", message)
    elif content_type != JSON:
        _refuse_unless_json(content_type)
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
        told = partial(validation_summary, error.with_traceback(None), frozenset())
        raise Poison("attributes_invalid", told) from None
    if record.key is not None and record.key != envelope.partitionkey.encode():
        message = "the message key and partitionkey differ: use the account_id for both"
        raise Poison("key_mismatch", message)
    return envelope, body


def _value(record: Record) -> bytes:
    if record.value is None:
        raise Poison(
            "null_value", "the message has no value: publish the event's JSON as the value"
        )
    if isinstance(record.value, UnreadBatch):
        raise Poison("batch_unreadable", record.value.why)
    if isinstance(record.value, Head):
        raise Poison("oversized", record.value.why)
    cut = beginning(record.key, record.value, record.headers)
    if cut is not None and cut.whole is not None:
        raise Poison("oversized", too_large(cut.whole))
    return record.value


def binary_headers(event: StoredEvent, registry: EventRegistry) -> list[tuple[str, bytes]]:
    """Return the headers of a stored event in binary mode; the value is `event.body`, untouched."""
    headers = [
        *_fixed_headers(event.source, event.type, registry),
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
    if event.hash:
        headers.append((CHAIN_HASH, event.hash.hex().encode()))
    return headers


@cache
def _fixed_headers(
    source: str, event_type: str, registry: EventRegistry
) -> tuple[tuple[str, bytes], ...]:
    """Return what is the same in all events of a type."""
    return (
        (_CONTENT_TYPE, JSON.encode()),
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_dataschema", registry.data_schema(event_type).encode()),
    )


def check_body(body: bytes, fields: Collection[str]) -> None:
    """Refuse what a reader of JSON may take in two ways: a key twice, and `null` for "left out".

    What is refused is named only where it is one of `fields`.

    Raises:
        Poison: it is so, or it is not JSON: NaN and its like switch nothing off.
    """
    try:
        value = read_json(body)
    except (ValueError, RecursionError):
        raise Poison("body_invalid", "the body is not JSON") from None
    if b"null" in body and (found := nulls(value)):
        _refuse_null(found, fields)


def _refuse_null(found: Sequence[Path], fields: Collection[str]) -> None:
    told = "; ".join(
        f"{_place(path, fields)}: null is no value, leave the field out" for path in found
    )
    raise Poison("body_invalid", told[:_SUMMARY_CHARACTERS_MAX])


def validation_summary(error: ValidationError, fields: Collection[str]) -> str:
    """Say which `fields` are wrong and how, without any value or key that was sent."""
    problems = problems_of(error)
    told = "; ".join(
        f"{_place(problem['loc'], fields)}: {problem['msg']}" for problem in problems[:5]
    )
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""  # noqa: PLR2004
    return told[:_SUMMARY_CHARACTERS_MAX] + more


def _place(path: Sequence[int | str], fields: Collection[str]) -> str:
    """Return where a problem is. In a dictionary a key is the sender's word, and is not repeated."""
    told = (str(part) if part in _NAMES or part in fields else "(key)" for part in path[:8])
    return ".".join(told) or "body"


def _texts(headers: Headers) -> dict[str, str]:
    """Return the attributes, extensions that we do not know by their header's name, and the type."""
    texts: dict[str, str] = {}
    try:
        for header, value in headers:
            name = _NAME_OF.get(header) or _name_of(header.lower())
            if name is None:
                continue
            if name == _TRACE:
                texts[name] = _trace(value, known=name in texts)
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


def _refuse_unless_json(content_type: str) -> None:
    media, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    if media.strip() != JSON or charset not in {"", "charset=utf-8"}:
        message = f"send content-type {JSON} for data alone, {STRUCTURED} for a whole event"
        raise Poison("content_type_unsupported", message)


def _trace(value: bytes | None, *, known: bool) -> str:
    """Return a trace context as it is. A broken one is none: it is no part of the request."""
    return "" if value is None or known else value.decode(errors="replace").replace("\0", " ")


def _structured(value: bytes, fields: Collection[str]) -> tuple[dict[str, str], bytes]:
    try:
        document = read_json(value)
        if not isinstance(document, dict):
            raise Poison("not_a_cloudevent", _NO_EVENT)
        body = _data(document, may_hold_null=b"null" in value, fields=fields)
        attributes = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in document.items()
            if name in _ATTRIBUTES and value is not None
        }
    except (ValueError, RecursionError):
        raise Poison("not_json", "the structured event is not JSON") from None
    if _TRACE in attributes:
        attributes[_TRACE] = attributes[_TRACE].replace("\0", " ")
    return attributes, body


def _data(document: dict[str, Any], *, may_hold_null: bool, fields: Collection[str]) -> bytes:
    """Return the body of a structured event: its `data`, or what `data_base64` holds."""
    _refuse_unless_json(_text(document.get("datacontenttype"), JSON))
    coded = document.get("data_base64")
    if coded is None and isinstance(document.get("data"), dict):
        if may_hold_null and (found := nulls(document["data"])):
            _refuse_null(found, fields)
        return _encoded(_COMPACT.encode(document["data"]))
    if not isinstance(coded, str) or "data" in document:
        raise Poison("not_a_cloudevent", _NO_EVENT)
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError:
        raise Poison("not_a_cloudevent", "`data_base64` is not base64") from None


def _text(value: object, default: str) -> str:
    return default if value is None else value if isinstance(value, str) else json.dumps(value)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Poison("not_utf8", "the structured event holds a lone surrogate") from None

"""Kafka records as lines of JSON: also those that no proper client would send.

Bytes are text where they are UTF-8, else `{"base64": ...}`; long junk is `{"repeat": ..., "times": n}`.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from schemas.topics import CONFIRMATIONS, REQUESTS

SOURCE = "/upstream/demo-shop"
GATEWAY_SOURCE = "/gateway/demo-app"

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What goes to `topic`; `partition_shift` moves it off its account's partition."""

    phase: int
    key: bytes | None
    headers: Headers
    value: bytes | None
    partition_shift: int = 0
    topic: str = REQUESTS.name
    paid: dict[str, Any] | None = None
    """What the customer paid in the app before this is sent: the gateway holds it."""

    def with_header(self, name: str, value: bytes | None) -> RawRecord:
        """Return it with `name` set to `value`."""
        kept = tuple(header for header in self.headers if header[0] != name)
        return replace(self, headers=(*kept, (name, value)))

    def without_headers(self, prefix: str) -> RawRecord:
        """Return it without the headers whose names begin with `prefix`."""
        kept = tuple(header for header in self.headers if not header[0].startswith(prefix))
        return replace(self, headers=kept)


def moment(phase: int) -> str:
    """Return when the customers of a phase acted: later phases are later."""
    return f"2026-11-20T08:{phase:02d}:00Z"


def event_record(phase: int, name: str, data: dict[str, Any], *, event_name: str = "") -> RawRecord:
    """Return a proper event in binary mode; `event_name` sets apart events with the same data."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid5(NAMESPACE_URL, f"perennial-demo/{name}/{event_name}/{body}")),
        "ce_source": SOURCE,
        "ce_type": f"billing.{name}.v1",
        "ce_time": moment(phase),
        "content-type": "application/json",
    }
    encoded = tuple((header, value.encode()) for header, value in headers.items())
    return RawRecord(phase, data["account_id"].encode(), encoded, body.encode())


def confirmation_record(
    phase: int, data: dict[str, Any], paid: dict[str, Any] | None = None
) -> RawRecord:
    """Return a proper PaymentConfirmed, as the gateway's side sends it, true or not."""
    return replace(gateway_record(phase, "PaymentConfirmed", data), paid=paid)


def gateway_record(phase: int, name: str, data: dict[str, Any]) -> RawRecord:
    """Return a proper event of the gateway's side."""
    record = event_record(phase, name, data).with_header("ce_source", GATEWAY_SOURCE.encode())
    return replace(record, topic=CONFIRMATIONS.name)


def structured(record: RawRecord) -> RawRecord:
    """Return the same event in structured mode."""
    attributes = {
        name.removeprefix("ce_"): (value or b"").decode()
        for name, value in record.headers
        if name.startswith("ce_")
    }
    event = attributes | {
        "datacontenttype": "application/json",
        "data": json.loads(record.value or b"{}"),
    }
    value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    return replace(record, headers=headers, value=value)


def to_line(record: RawRecord) -> str:
    """Write a record as one line."""
    line: dict[str, Any] = {
        "phase": record.phase,
        "key": _written(record.key),
        "headers": [[name, _written(value)] for name, value in record.headers],
        "value": _written(record.value),
    }
    if record.topic != REQUESTS.name:
        line["topic"] = record.topic
    if record.paid:
        line["paid"] = record.paid
    if record.partition_shift:
        line["partition_shift"] = record.partition_shift
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def from_line(line: str) -> RawRecord:
    """Read a record back, byte for byte."""
    read = json.loads(line)
    headers = tuple((name, _read(value)) for name, value in read["headers"])
    return RawRecord(
        read["phase"],
        _read(read["key"]),
        headers,
        _read(read["value"]),
        read.get("partition_shift", 0),
        read.get("topic", REQUESTS.name),
        read.get("paid"),
    )


def _written(value: bytes | None) -> str | dict[str, str | int] | None:
    if value is None:
        return None
    if len(value) > 10_000 and value == value[:1] * len(value):  # noqa: PLR2004 - junk
        return {"repeat": value[:1].decode(), "times": len(value)}
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read(value: str | dict[str, Any] | None) -> bytes | None:
    if isinstance(value, dict):
        if "repeat" in value:
            repeated: str = value["repeat"]
            return repeated.encode() * int(value["times"])
        return base64.b64decode(value["base64"])
    return None if value is None else value.encode()

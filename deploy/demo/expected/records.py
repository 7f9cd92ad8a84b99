"""Kafka records as lines of JSON, also those that no proper client would send, and how one is spoilt.

Bytes are text where they are UTF-8, else `{"base64": ...}`; long junk is `{"repeat": ..., "times": n}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from schemas.topics import CONFIRMATIONS, REQUESTS

_OF_THE_GATEWAY: Final = frozenset({"PaymentConfirmed", "RefundConfirmed"})
_JUNK: Final = 10_000


@dataclass(frozen=True, slots=True)
class RawRecord:
    """What goes to `topic`; `partition_shift` moves it off its account's partition."""

    phase: int
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None
    partition_shift: int = 0
    topic: str = REQUESTS.name
    paid: dict[str, Any] | None = None
    """What the customer paid in the app before this is sent: the gateway holds it."""

    def with_header(self, name: str, value: bytes | None) -> RawRecord:
        """Return it with `name` set to `value`."""
        kept = tuple(header for header in self.headers if header[0] != name)
        return replace(self, headers=(*kept, (name, value)))


def moment(phase: int) -> str:
    """Return when the customers of a phase acted: later phases are later."""
    return f"2026-11-20T08:{phase:02d}:00Z"


def event_record(phase: int, name: str, data: dict[str, Any]) -> RawRecord:
    """Return a proper event in binary mode, from the shop or from the gateway's side."""
    body = _compact(data)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid5(NAMESPACE_URL, f"perennial-demo/{name}//{body}")),
        "ce_source": "/upstream/demo-shop",
        "ce_type": f"billing.{name}.v1",
        "ce_time": moment(phase),
        "content-type": "application/json",
    }
    encoded = tuple((header, value.encode()) for header, value in headers.items())
    record = RawRecord(phase, data["account_id"].encode(), encoded, body.encode())
    if name in _OF_THE_GATEWAY:
        record = record.with_header("ce_source", b"/gateway/demo-app")
        return replace(record, topic=CONFIRMATIONS.name)
    return record


def structured(record: RawRecord) -> RawRecord:
    """Return the same event in structured mode."""
    attributes = {
        name.removeprefix("ce_"): (value or b"").decode()
        for name, value in record.headers
        if name.startswith("ce_")
    }
    data = json.loads(record.value or b"{}")
    event = attributes | {"datacontenttype": "application/json", "data": data}
    headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    return replace(record, headers=headers, value=_compact(event).encode())


def spoilt(record: RawRecord, spoils: Iterable[Iterable[Any]]) -> RawRecord:
    """Do to a record what each of `spoils` says, such as `["header", "ce_id", "42"]`, in order."""
    for name, *arguments in spoils:
        record = _SPOILS[name](record, *arguments)
    return record


def _without_headers(record: RawRecord, prefix: str) -> RawRecord:
    kept = tuple(header for header in record.headers if not header[0].startswith(prefix))
    return replace(record, headers=kept)


def _header_twice(record: RawRecord, name: str) -> RawRecord:
    again = tuple(header for header in record.headers if header[0] == name)
    return replace(record, headers=(*record.headers, *again))


def _fields(record: RawRecord, changed: dict[str, Any]) -> RawRecord:
    data = json.loads(record.value or b"{}") | changed
    return replace(record, value=_compact(data).encode())


def _note(record: RawRecord, parts: list[tuple[str, int]]) -> RawRecord:
    """Add a field that no reader asked for: each text so many times, whether it is JSON or not."""
    note = "".join(text * times for text, times in parts)
    value = (record.value or b"").removesuffix(b"}") + f',"note":{note}}}'.encode()
    return replace(record, value=value)


_SPOILS: Final[dict[str, Callable[..., RawRecord]]] = {
    "structured": structured,
    "header": lambda record, name, value: record.with_header(name, _read(value)),
    "header twice": _header_twice,
    "without headers": _without_headers,
    "key": lambda record, key: replace(record, key=_read(key)),
    "value": lambda record, value: replace(record, value=_read(value)),
    "partition": lambda record, shift: replace(record, partition_shift=shift),
    "fields": _fields,
    "note": _note,
}


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
    return _compact(line)


def from_line(line: str) -> RawRecord:
    """Read a record back, byte for byte."""
    read = json.loads(line)
    read["headers"] = tuple((name, _read(value)) for name, value in read["headers"])
    return RawRecord(**(read | {"key": _read(read["key"]), "value": _read(read["value"])}))


def _compact(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _written(value: bytes | None) -> str | dict[str, str | int] | None:
    if value is None:
        return None
    if len(value) > _JUNK and value == value[:1] * len(value):
        return {"repeat": value[:1].decode(), "times": len(value)}
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _read(written: str | dict[str, Any] | None) -> bytes | None:
    if isinstance(written, dict):
        if "base64" in written:
            return base64.b64decode(written["base64"])
        return str(written["repeat"]).encode() * int(written["times"])
    return None if written is None else written.encode()

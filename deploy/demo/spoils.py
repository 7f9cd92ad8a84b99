"""How a good record is spoilt: each function returns what does one thing to it, or does it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deploy.demo.records import RawRecord, structured

Spoil = Callable[[RawRecord], RawRecord]


def with_header(name: str, value: bytes | None) -> Spoil:
    """Set a header."""
    return lambda record: record.with_header(name, value)


def without_headers(prefix: str) -> Spoil:
    """Leave out the headers whose names begin with `prefix`."""
    return lambda record: record.without_headers(prefix)


def with_value(value: bytes | None) -> Spoil:
    """Send another value."""
    return lambda record: replace(record, value=value)


def with_key(key: bytes | None) -> Spoil:
    """Send another key."""
    return lambda record: replace(record, key=key)


def with_fields(**changed: Any) -> Spoil:  # noqa: ANN401 - any JSON
    """Change fields of the data."""
    return lambda record: changed_data(record, **changed)


def with_extra_field(inner: str) -> Spoil:
    """Add a field, written as it is, that no reader asked for."""

    def spoil(record: RawRecord) -> RawRecord:
        value = (record.value or b"").removesuffix(b"}")
        return replace(record, value=value + f',"note":{inner}}}'.encode())

    return spoil


def with_header_twice(name: str) -> Spoil:
    """Send a header twice."""

    def spoil(record: RawRecord) -> RawRecord:
        again = tuple(header for header in record.headers if header[0] == name)
        return replace(record, headers=(*record.headers, *again))

    return spoil


def together(*spoils: Spoil) -> Spoil:
    """Do several things to a record, in order."""

    def spoil(record: RawRecord) -> RawRecord:
        for each in spoils:
            record = each(record)
        return record

    return spoil


def with_attributes(**changed: Any) -> Spoil:  # noqa: ANN401 - any JSON
    """Change the attributes of an event in structured mode."""

    def spoil(record: RawRecord) -> RawRecord:
        document = json.loads(structured(record).value or b"{}") | changed
        value = json.dumps(document, separators=(",", ":")).encode()
        return replace(structured(record), value=value)

    return spoil


def in_base64(record: RawRecord) -> RawRecord:
    """Send the event in structured mode, its data as CloudEvents writes binary data."""
    whole = structured(record)
    event = json.loads(whole.value or b"{}")
    del event["data"]
    event["data_base64"] = base64.b64encode(record.value or b"").decode()
    return replace(whole, value=json.dumps(event).encode())


def with_key_twice(record: RawRecord) -> RawRecord:
    """Name the first field of the data twice: two readers could take two values."""
    value = record.value or b"{}"
    first = next(iter(json.loads(value)))
    return replace(record, value=value.replace(b"{", b'{"%b":"other",' % first.encode(), 1))


def with_key_as_attribute(record: RawRecord) -> RawRecord:
    """Name the account in a header instead of the key."""
    return replace(record, key=None).with_header("ce_partitionkey", record.key)


def off_its_partition(record: RawRecord) -> RawRecord:
    """Send it to another partition than its key belongs to."""
    return replace(record, partition_shift=3)


def cut_short(record: RawRecord) -> RawRecord:
    """Lose the end of the value."""
    return replace(record, value=(record.value or b"")[:-9])


def changed_data(record: RawRecord, **changed: Any) -> RawRecord:  # noqa: ANN401 - any JSON
    """Return the record with other fields in its data."""
    data = json.loads(record.value or b"{}") | changed
    value = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(record, value=value)

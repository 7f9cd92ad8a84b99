"""How much of a record is read and kept: all that can be handled, of anything larger the beginning.

The rest stays where it came from, on its topic, as long as that keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.runtime.log.event_log import Whole

BODY_BYTES_MAX: Final = 64 * 1024
"""A billing fact is a few hundred bytes; anything this large is not one."""
KEY_BYTES_MAX: Final = 1024
HEADER_BYTES_MAX: Final = 8 * 1024
"""An attribute has at most a few hundred bytes; the broker's limit is on the whole record."""
HEADERS_BYTES_MAX: Final = 64 * 1024
NAME_CHARACTERS_MAX: Final = 256
_BYTES_PER_HEADER: Final = 16
"""What a header costs beside its bytes: a batch has room for millions of empty ones."""
_SURELY_FEW: Final = 64
Headers = Sequence[tuple[str, bytes | None]]


class Head(bytes):
    """The beginning of what was not read, and what is known of the whole."""

    why: str
    whole: Whole


class UnreadBatch(Head):
    """The head of a batch that was not read."""


class LargeValue(Head):
    """The value of a record that is too large in any of its parts."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The parts of a record that are kept; `whole` is None when that is all of it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    whole: Whole | None


@dataclass(slots=True)
class HeadRecord:
    """Stands for records that are not read whole, as the client's own records look."""

    offset: int
    timestamp: int
    value: Head
    timestamp_type: int = 0
    key: bytes | None = None
    headers: Headers = ()
    checksum: int | None = None


def bounded(record: Any) -> Any:  # noqa: ANN401 - aiokafka's
    """Return `record`, or what stands for it when a part of it is too large to be handled."""
    held = beginning(record.key, record.value, record.headers)
    if held is None or held.whole is None:
        return record
    value = LargeValue(held.value or b"")
    value.whole, value.why = held.whole, too_large(held.whole)
    return HeadRecord(
        record.offset,
        record.timestamp,
        value,
        timestamp_type=record.timestamp_type,
        key=held.key,
        headers=held.headers,
    )


def beginning(key: bytes | None, value: bytes | None, headers: Headers) -> Kept | None:
    """Return what is kept of a record that is too large in one of its parts; None of any other."""
    if _surely_whole(key, value, headers):
        return None
    held = kept(key, value, headers)
    return None if held.whole is None else held


def _surely_whole(key: bytes | None, value: bytes | None, headers: Headers) -> bool:
    """Return whether all parts are too small to exceed the limit together: the usual record."""
    if len(value or b"") > BODY_BYTES_MAX or len(key or b"") > KEY_BYTES_MAX:
        return False
    if len(headers) > _SURELY_FEW:
        return False
    for name, held in headers:  # a generator takes twice as long, and this is asked of each record
        if len(name) > NAME_CHARACTERS_MAX or len(held or b"") > NAME_CHARACTERS_MAX:
            return False
    return True


def too_large(whole: Whole) -> str:
    """Say what is wrong with such a record."""
    return (
        f"the record has {whole.record_bytes} bytes: the limits are {BODY_BYTES_MAX} of value, "
        f"{KEY_BYTES_MAX} of key, {HEADER_BYTES_MAX} of a header and {HEADERS_BYTES_MAX} of all"
    )


def kept(key: bytes | None, value: bytes | None, headers: Headers) -> Kept:
    """Cut what is too long to be kept."""
    if isinstance(value, Head):
        return Kept(key, bytes(value), tuple(headers), value.whole)
    if _surely_whole(key, value, headers):
        return Kept(key, value, tuple(headers), None)
    head = value if value is None else value[:BODY_BYTES_MAX]
    short_key = key if key is None else key[:KEY_BYTES_MAX]
    few = tuple(_few(headers))
    if (short_key, head, few) == (key, value, tuple(headers)):
        return Kept(key, value, few, None)
    size = len(key or b"") + len(value or b"")
    size += sum(_bytes(name, held) for name, held in headers)
    return Kept(short_key, head, few, Whole(size, hashlib.sha256(value or b"").digest()))


def _few(headers: Headers) -> Iterator[tuple[str, bytes | None]]:
    room = HEADERS_BYTES_MAX
    for name, value in headers:
        short = name[:NAME_CHARACTERS_MAX], None if value is None else value[:HEADER_BYTES_MAX]
        room -= _bytes(*short) + _BYTES_PER_HEADER
        if room < 0:
            return
        yield short


def _bytes(name: str, value: bytes | None) -> int:
    return len(name.encode(errors="replace")) + len(value or b"")

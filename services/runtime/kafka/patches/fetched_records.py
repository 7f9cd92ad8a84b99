"""Reads fetched records whose header names are not UTF-8.

aiokafka 0.14 raises on such a name each time it reads the batch, so that one record would end all
consumption. Here such a name is read with backslash escapes, and the record goes the way of any other.
We know of no issue about it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from services.runtime.kafka.patches.bounded_batches import (
    BATCH_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    readable,
    unread,
)
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX, bounded

_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_BEFORE_BATCH_BYTES: Final = 12
"""The base offset and the length, which the length does not count."""


def tolerate_header_names() -> None:
    """Have every consumer of this process read header names leniently."""
    fetcher.MemoryRecords = LenientRecords


class LenientRecords(MemoryRecords):  # type: ignore[misc]
    """What one fetch brought from a partition, batch by batch."""

    def __init__(self, data: bytes) -> None:
        """Read `data`, which may end in the middle of a batch."""
        super().__init__(data)
        self._data = memoryview(data)
        self._position = 0
        self.unpacked_bytes = 0

    def has_next(self) -> bool:
        """Say whether to go on: the rest is fetched again when this much was enough at once."""
        return self.unpacked_bytes < UNPACKED_BYTES_MAX and bool(super().has_next())

    def next_batch(self) -> _Batch | None:
        batch = super().next_batch()
        if batch is None:
            return None
        start = self._position
        [length] = _LENGTH.unpack_from(self._data, start + _LENGTH_AT)
        self._position += _BEFORE_BATCH_BYTES + length
        return _Batch(batch, self._data[start : self._position], self)


class _Batch:
    """aiokafka's batch, read again in Python when a header name is not UTF-8."""

    __slots__ = ("_batch", "_of", "_raw")

    def __init__(self, batch: Any, raw: memoryview, of: LenientRecords) -> None:  # noqa: ANN401 - aiokafka's
        self._batch = batch
        self._raw = raw
        self._of = of

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - as above
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        # The fetcher passes over the offsets that it was already given.
        try:
            batch, size = readable(self._batch, self._raw)
            self._of.unpacked_bytes += size
            try:
                yield from batch if size <= BODY_BYTES_MAX else map(bounded, batch)
            except UnicodeDecodeError:
                yield from map(bounded, _read_leniently(self._raw))
        except Exception as error:  # noqa: BLE001 - a batch of any bytes stops no partition
            self._of.unpacked_bytes += BATCH_BYTES_MAX
            yield unread(self._batch, self._raw, error)


def _read_leniently(raw: memoryview) -> Iterator[Any]:
    batch = iter(_DefaultRecordBatchPy(raw))  # `iter` decompresses
    batch._buffer = _Buffer(batch._buffer)  # noqa: SLF001 - the only way in
    return batch  # type: ignore[no-any-return]


class _Buffer(bytearray):
    """Bytes whose parts are decoded leniently."""

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - an index or a slice
        found = super().__getitem__(key)
        return _Part(found) if isinstance(key, slice) else found


class _Part(bytearray):
    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")

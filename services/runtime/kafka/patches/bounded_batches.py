"""Record batches decompressed up to a bound: a few kilobytes may hold gigabytes.

What is larger, or cannot be read, comes as one record in the place of the batch's last one, so that
its neighbours are reached. Its value is the beginning of the batch as it was sent. aiokafka has no
such bound, and no issue about one that we know of.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from typing import Any, Final

from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatch

from services.runtime.kafka.records.record_size import HeadRecord, UnreadBatch
from services.runtime.log.event_log import Whole

cramjam: Final[Any] = codec.cramjam
"""What aiokafka's extras install for its codecs."""
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
"""Far more than a producer gathers; a request is a few hundred bytes."""
UNPACKED_BYTES_MAX: Final = 2 * BATCH_BYTES_MAX
"""What one fetch of a partition is decompressed to at once; what lies behind is fetched again."""
HEAD_BYTES: Final = 1024
_HEADER_BYTES: Final = 61
_ATTRIBUTES_AT: Final = 21
_CODEC_MASK: Final = 0x07
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_BLOCK: Final = struct.Struct(">i")
_MAX_TIMESTAMP: Final = struct.Struct(">q")
_MAX_TIMESTAMP_AT: Final = 35
_OF_THREAD: Final = threading.local()


class BatchTooLarge(Exception):
    """The records of a batch have more bytes than the bound."""


def readable(batch: Any, raw: memoryview) -> tuple[Any, int]:  # noqa: ANN401 - aiokafka's
    """Return `batch`, or the same one decompressed, and how many bytes it has.

    Raises:
        BatchTooLarge: its records are larger than the bound.
        Exception: whatever a codec says of bytes that are not its own.
    """
    attributes = raw[_ATTRIBUTES_AT + 1]
    if not attributes & _CODEC_MASK:
        return batch, len(raw)
    records = _decompressed(attributes & _CODEC_MASK, bytes(raw[_HEADER_BYTES:]))
    header = bytearray(raw[:_HEADER_BYTES])
    header[_ATTRIBUTES_AT + 1] &= ~_CODEC_MASK & 0xFF
    return DefaultRecordBatch(bytes(header) + records), len(records)


def unread(batch: Any, raw: memoryview, error: Exception) -> HeadRecord:  # noqa: ANN401 - as above
    """Return what stands for a batch that cannot be read."""
    value = UnreadBatch(raw[:HEAD_BYTES])
    value.whole = Whole(len(raw), hashlib.sha256(raw).digest())
    reason = (
        f"more than {BATCH_BYTES_MAX} bytes when decompressed"
        if isinstance(error, BatchTooLarge)
        else f"bytes that are no records ({type(error).__name__})"
    )
    value.why = (
        f"the batch at {batch.base_offset} to {batch.next_offset - 1} holds {reason}; as sent it has"
        f" {len(raw)} bytes, SHA-256 {value.whole.value_sha256.hex()}: send smaller batches"
    )
    [timestamp] = _MAX_TIMESTAMP.unpack_from(raw, _MAX_TIMESTAMP_AT)
    return HeadRecord(batch.next_offset - 1, timestamp, value)


def _decompressed(kind: int, data: bytes) -> bytes:
    if kind == _GZIP:
        return _gunzipped(data)
    if kind == _SNAPPY:
        _check_snappy(data)
        return bytes(codec.snappy_decode(data))
    into = {_LZ4: cramjam.lz4.decompress_into, _ZSTD: cramjam.zstd.decompress_into}[kind]
    room = _room()
    try:
        size = into(data, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            raise BatchTooLarge from None
        raise
    return bytes(memoryview(room)[:size])


def _room() -> bytearray:
    """Return this thread's room for a batch: to clear a new one takes longer than to fill it."""
    room: bytearray | None = getattr(_OF_THREAD, "room", None)
    if room is None:
        room = _OF_THREAD.room = bytearray(BATCH_BYTES_MAX)
    return room


def _gunzipped(data: bytes) -> bytes:
    found = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        found += member.decompress(data, BATCH_BYTES_MAX + 1 - len(found))
        if len(found) > BATCH_BYTES_MAX:
            raise BatchTooLarge
        if not member.eof:
            message = "the stream is cut"
            raise zlib.error(message)
        data = member.unused_data
    return found


def _check_snappy(data: bytes) -> None:
    """Add up what each block says it will have; the decoder takes them at their word."""
    if not data.startswith(_XERIAL):
        total = cramjam.snappy.decompress_raw_len(data)
    else:
        total, at = 0, _XERIAL_HEADER_BYTES
        while at < len(data):
            [size] = _BLOCK.unpack_from(data, at)
            if size <= 0:
                message = "a block has no size"
                raise ValueError(message)
            at += _BLOCK.size
            total += cramjam.snappy.decompress_raw_len(data[at : at + size])
            at += size
    if total > BATCH_BYTES_MAX:
        raise BatchTooLarge

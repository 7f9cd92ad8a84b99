"""Batches that are larger than they look: never more memory than the bound, never a stop."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.runtime.errors import Poison
from services.runtime.kafka.patches.bounded_batches import (
    BATCH_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    cramjam,
)
from services.runtime.kafka.patches.fetched_records import LenientRecords
from services.runtime.kafka.records.cloudevents import read_record
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX, HEADERS_BYTES_MAX, HeadRecord
from tests.unit.runtime.toy import request

CODECS: dict[int, Any] = {
    1: gzip.compress,
    2: cramjam.snappy.compress_raw,
    3: codec.lz4_encode,
    4: cramjam.zstd.compress,
}


def batch(kind: int, values: list[bytes], compress: Any = None) -> bytes:
    """Return a batch of records at the offsets 7, 8 ..., compressed by `kind`."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"k", value, [("name", b"x")])
    return repacked(bytes(builder.build()), kind, compress)


def repacked(plain: bytes, kind: int, compress: Any = None) -> bytes:
    """Return a batch at offset 7, compressed by `kind`."""
    records = bytes((compress or CODECS[kind])(plain[61:]))
    head = bytearray(plain[:61])
    struct.pack_into(">q", head, 0, 7)
    struct.pack_into(">i", head, 8, 61 + len(records) - 12)
    head[22] |= kind
    return bytes(head) + records


def read(raw: bytes) -> list[Any]:
    records, found = LenientRecords(raw), []
    while (each := records.next_batch()) is not None:
        found += list(each)
    return found


def fetched(raw: bytes) -> list[Any]:
    """Return what the client takes of one fetch, as far as it is told that there is more."""
    records, found = LenientRecords(raw), []
    while records.has_next():
        found += list(records.next_batch() or ())
    return found


@pytest.mark.parametrize("kind", CODECS)
def test_compressed_batch_is_read(kind: int) -> None:
    found = read(batch(kind, [b"one", b"two" * 20_000]))
    assert [(each.offset, each.value) for each in found] == [(7, b"one"), (8, b"two" * 20_000)]
    assert [list(each.headers) for each in found] == [[("name", b"x")]] * 2


@pytest.mark.parametrize("kind", [*CODECS, 22])
def test_batch_beyond_the_bound_comes_as_one_record_in_the_place_of_its_last(kind: int) -> None:
    compress = codec.snappy_encode if kind > 4 else None
    bomb = batch(kind % 20, [b"a" * (BATCH_BYTES_MAX - 100), b"b" * 200], compress)
    [found, neighbour] = read(bomb + batch(4, [b"next"]))
    assert isinstance(found, HeadRecord)
    assert (found.offset, neighbour.value) == (8, b"next")
    record = request()
    record.value = found.value
    with pytest.raises(Poison, match="at 7 to 8 holds more than 8388608 bytes") as poison:
        read_record(record)
    assert poison.value.reason == "batch_unreadable"


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_batch_of_no_records_at_all_stops_nothing(kind: int) -> None:
    broken = batch(kind, [b"one"], lambda _: b"\xff\x00\xff" * 9)
    [found, neighbour] = read(broken + batch(4, [b"next"]))
    assert (found.offset, neighbour.value) == (7, b"next")
    assert "no records" in found.value.why


@pytest.mark.parametrize("kind", CODECS)
def test_one_fetch_is_decompressed_to_a_bound_and_the_rest_is_fetched_again(kind: int) -> None:
    bomb = batch(kind, [b"a" * (BATCH_BYTES_MAX - 100)])
    found = fetched(bomb * 50)
    assert len(found) == UNPACKED_BYTES_MAX // BATCH_BYTES_MAX + 1
    honest = batch(kind, [b"one"]) * 50
    assert len(fetched(honest)) == 50


@pytest.mark.parametrize("kind", [0, *CODECS])
@pytest.mark.parametrize(
    "large",
    [{"value": b"v" * 9 * BODY_BYTES_MAX}, {"headers": [("n", b"h" * 9 * HEADERS_BYTES_MAX)]}],
)
def test_record_that_is_too_large_is_read_by_its_beginning_and_its_neighbours_whole(
    kind: int, large: dict[str, Any]
) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    sent = {"value": b"v", "headers": [("n", b"h")]} | large
    for offset, changes in enumerate([{}, sent, {}]):
        one = {"value": b"v", "headers": [("n", b"h")]} | changes
        builder.append(offset, 1_700_000_000_000, b"k", one["value"], one["headers"])
    plain = bytes(builder.build())
    raw = plain if not kind else repacked(plain, kind)
    before, found, after = read(raw)
    assert (before.value, after.value) == (b"v", b"v")
    record = request()
    record.key, record.value, record.headers = found.key, found.value, list(found.headers)
    assert len(record.value or b"") <= BODY_BYTES_MAX
    assert sum(len(value or b"") for _, value in record.headers) <= HEADERS_BYTES_MAX
    with pytest.raises(Poison, match="of value") as poison:
        read_record(record)
    assert poison.value.reason == "oversized"

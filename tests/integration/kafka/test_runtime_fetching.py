"""What the broker delivers to our consumer: hostile header names, and every record's neighbours."""

from __future__ import annotations

import asyncio
import gzip
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer import fetcher
from aiokafka.record.util import calc_crc32c

from services.runtime.errors import Transient
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.kafka.patches.fetch_pace import QUIET_WAIT_MS
from services.runtime.kafka.patches.fetched_records import LenientRecords
from tests.controls import settings_for
from tests.infrastructure import Infrastructure

_CRC_AT: Final = 17
_CRC_FROM: Final = 21
_LENGTH_UNTIL: Final = 12
_RECORDS_FROM: Final = 61
_GZIP: Final = 1
GATHER_MS: Final = 1_000
HOSTILE: Final = b"\xff\xfe\xc3(abc"
PLACEHOLDER: Final = "X" * len(HOSTILE)


@dataclass
class Delivered:
    """What the handler was given, after its first `failures`."""

    failures: int = 0
    records: list[Any] = field(default_factory=list)
    batches: int = 0

    async def take(self, records: Sequence[Any]) -> None:
        if self.failures:
            self.failures -= 1
            message = "the world is unwell"
            raise Transient(message)
        self.records += records
        self.batches += 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.records) < count:  # noqa: ASYNC110 - a callback gives no signal
                await asyncio.sleep(0.05)


def with_hostile_name(plain: bytes, *, compressed: bool) -> bytes:
    """Return a record batch with a header name replaced and its checksum made right again."""
    raw = plain.replace(PLACEHOLDER.encode(), HOSTILE)
    assert raw != plain
    if compressed:
        records = gzip.compress(raw[_RECORDS_FROM:])
        length = struct.pack(">i", _RECORDS_FROM + len(records) - _LENGTH_UNTIL)
        attributes = struct.pack(">h", _GZIP)
        raw = raw[:8] + length + raw[12:21] + attributes + raw[23:_RECORDS_FROM] + records
    return raw[:_CRC_AT] + struct.pack(">I", calc_crc32c(raw[_CRC_FROM:])) + raw[_CRC_FROM:]


async def publish_batch(servers: str, topic: str, *, compressed: bool = False) -> None:
    """Publish three records in one batch, the second with a header name that is not UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        for value, name in ((b"before", "fine"), (b"hostile", PLACEHOLDER), (b"after", "fine")):
            batch.append(timestamp=None, key=b"k", value=value, headers=[(name, b"1")])
        plain = bytes(batch._build())  # noqa: SLF001
        batch._buffer = with_hostile_name(plain, compressed=compressed)  # noqa: SLF001
        await (await producer.send_batch(batch, topic, partition=0))
        await producer.send_and_wait(topic, b"next", key=b"k")
    finally:
        await producer.stop()


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[str]:
    name = f"fetching-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


def consumer_of(servers: str, topic: str, **changes: Any) -> BatchConsumer:
    settings = settings_for(
        "postgresql://nobody@127.0.0.1:1/none", role="x:y", bootstrap_servers=servers
    )
    return BatchConsumer(
        settings=settings.model_copy(update=changes),
        topics=[topic],
        group=topic,
        assignment=Assignment(),
    )


async def test_record_with_a_header_name_that_is_not_utf8_is_delivered_between_its_neighbours(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    delivered = Delivered()
    consumer = consumer_of(servers, topic)
    await publish_batch(servers, topic)
    await consumer.start(delivered.take)
    try:
        await delivered.until(4)
        await publish_batch(servers, topic, compressed=True)
        await delivered.until(8)
    finally:
        await consumer.stop()
    values = [b"before", b"hostile", b"after", b"next"]
    assert [record.offset for record in delivered.records] == list(range(8))
    assert [record.value for record in delivered.records] == values * 2
    assert {record.key for record in delivered.records} == {b"k"}
    names = [name for record in delivered.records for name, _ in record.headers]
    assert names == ["fine", "\\xff\\xfe\\xc3(abc", "fine"] * 2


async def test_failed_batch_is_delivered_again_and_nothing_behind_it_before(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    delivered = Delivered(failures=2)
    consumer = consumer_of(servers, topic)
    await publish_batch(servers, topic)
    await consumer.start(delivered.take)
    try:
        await delivered.until(4)
    finally:
        await consumer.stop()
    assert [record.offset for record in delivered.records] == [0, 1, 2, 3]
    assert delivered.failures == 0


async def test_first_record_comes_at_once_and_more_are_gathered_until_none_has_come_for_a_while(
    infrastructure: Infrastructure, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = infrastructure.bootstrap_servers
    asked: list[tuple[int, int]] = []
    fetch_request = fetcher.FetchRequest

    def noted(wait_ms: int, bytes_min: int, *others: Any, **named: Any) -> Any:
        asked.append((wait_ms, bytes_min))
        return fetch_request(wait_ms, bytes_min, *others, **named)

    monkeypatch.setattr(fetcher, "FetchRequest", noted)
    quiet, gathering = (QUIET_WAIT_MS, 1), (GATHER_MS, 256 * 1024)
    delivered = Delivered()
    consumer = consumer_of(servers, topic, fetch_wait_ms=GATHER_MS)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        await consumer.start(delivered.take)
        await until_asked(asked, quiet)
        for _ in range(2):
            sent_at = time.monotonic()
            await producer.send_and_wait(topic, b"first")
            await delivered.until(1)
            assert time.monotonic() - sent_at < GATHER_MS / 1000
            await until_asked(asked, gathering)
            for number in range(10):
                await producer.send_and_wait(topic, b"%d" % number)
            await delivered.until(11)
            assert delivered.batches <= 3
            delivered.records.clear()
            delivered.batches = 0
            asked.clear()
            await until_asked(asked, quiet)
    finally:
        await consumer.stop()
        await producer.stop()


async def until_asked(asked: Sequence[tuple[int, int]], wanted: tuple[int, int]) -> None:
    async with asyncio.timeout(10):
        while wanted not in asked:  # noqa: ASYNC110 - a request gives no signal
            await asyncio.sleep(0.01)


def test_reader_is_the_one_that_aiokafka_fetches_with() -> None:
    consumer_of("127.0.0.1:1", "t")
    assert fetcher.MemoryRecords is LenientRecords
    # Another version may read header names elsewhere: run this file, then change the number.
    assert version("aiokafka") == "0.14.0"

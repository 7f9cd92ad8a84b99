"""What the probes see of a consumer on a real broker: how far it is behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Producer

from services.runtime.errors import Stuck, Transient
from services.runtime.flow.intake.pauses import Pauses
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.kafka.held_back import HeldBack
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.watch.vital_signs import VitalSigns
from services.runtime.watch.watchdog import Watchdog
from tests.controls import settings_for
from tests.infrastructure import Infrastructure
from tests.unit.runtime.toy import memory_log, until


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[str]:
    name = f"signs-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


class Reader:
    """A consumer that moves the cursor of a log in memory, or fails."""

    def __init__(self, servers: str, topic: str, log: MemoryEventLog | None = None) -> None:
        self.log: MemoryEventLog = log or memory_log()
        self.works = True
        self.topic = topic
        settings = settings_for(
            "postgresql://nobody@127.0.0.1/none", role="x:y", bootstrap_servers=servers
        )
        settings = settings.model_copy(update={"shard_count": 1})
        self.assignment = assignment = Assignment()
        self.consumer = BatchConsumer(
            settings=settings,
            topics=[topic],
            group=topic,
            assignment=assignment,
        )
        self.signs = VitalSigns(
            settings=settings,
            topics=[topic],
            log=self.log,
            consumer=self.consumer,
            assignment=assignment,
            busy=lambda: False,
            held_back=HeldBack(time.monotonic),
            pauses=Pauses(log=self.log, consumer=self.consumer, assignment=assignment),
        )

    async def take(self, records: Sequence[Any]) -> None:
        if not self.works:
            await asyncio.sleep(0.05)
            message = "the world is unwell"
            raise Transient(message)
        async with self.log.transaction(partitions=[(self.topic, 0)]) as tx:
            tx.move_cursor((self.topic, 0), records[-1].offset + 1)

    async def cursor(self) -> int:
        return (await self.log.cursors()).get((self.topic, 0), 0)

    async def behind(self) -> int:
        progress = await self.signs.look()
        assert progress is not None
        return progress.behind


@asynccontextmanager
async def reading(
    servers: str, topic: str, *, works: bool, log: MemoryEventLog | None = None
) -> AsyncIterator[Reader]:
    reader = Reader(servers, topic, log)
    reader.works = works
    await reader.consumer.start(reader.take)
    try:
        yield reader
    finally:
        reader.works = True
        await reader.consumer.stop()


def publish_in_a_transaction(servers: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"v", key=b"k")
    producer.commit_transaction(30)


async def test_consumer_that_has_read_a_whole_transaction_is_not_behind(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    async with reading(servers, topic, works=True) as reader:
        await asyncio.to_thread(publish_in_a_transaction, servers, topic)

        async def up_to_date() -> bool:
            return await reader.cursor() == 1 and await reader.behind() == 0

        await until(up_to_date)
        readiness = await reader.signs.readiness()
    assert (readiness.lag, readiness.problems) == (0, [])


async def test_consumer_whose_batch_fails_again_and_again_is_behind(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    async with reading(servers, topic, works=False) as reader:
        await asyncio.to_thread(publish_in_a_transaction, servers, topic)

        async def is_behind() -> bool:
            return await reader.behind() > 0

        await until(is_behind)
        assert await reader.cursor() == 0


async def watched(reader: Reader) -> None:
    """Have a real watchdog look at a reader for three times its limit."""
    now = [0.0]
    watchdog = Watchdog(
        reader.signs.look,
        kafka_answers=reader.signs.kafka_answers,
        records_wait=reader.signs.records_wait,
        limit_seconds=30,
        monotonic=lambda: now[0],
    )
    for _ in range(4):
        await watchdog.look_once()
        now[0] += 31


async def test_spare_process_is_not_stuck_where_a_topic_ends_with_a_commit(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    async with reading(servers, topic, works=True) as one:
        await asyncio.to_thread(publish_in_a_transaction, servers, topic)
        await until(lambda: _is(one, 1))
        async with reading(servers, topic, works=True, log=one.log) as other:
            spare = await idle_one(one, other)

            assert await spare.behind() == 1
            await watched(spare)


async def test_spare_process_is_stuck_where_nobody_reads_what_waits(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    async with (
        reading(servers, topic, works=False) as one,
        reading(servers, topic, works=False, log=one.log) as other,
    ):
        spare = await idle_one(one, other)
        await asyncio.to_thread(publish_in_a_transaction, servers, topic)

        with pytest.raises(Stuck, match="the consumer stood still"):
            await watched(spare)


async def _is(reader: Reader, cursor: int) -> bool:
    return await reader.cursor() == cursor


async def idle_one(*readers: Reader) -> Reader:
    """Return the reader that has no partition, once another one has it."""

    async def shared_out() -> bool:
        return sum(bool(reader.assignment.partitions) for reader in readers) == 1 and all(
            reader.assignment.changed.is_set() for reader in readers
        )

    await until(shared_out)
    return next(reader for reader in readers if not reader.assignment.partitions)

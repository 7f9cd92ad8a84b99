"""What the probes see of a consumer on a real broker: how far it is behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Producer

from services.runtime.errors import Transient
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.watch.vital_signs import VitalSigns
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

    def __init__(self, servers: str, topic: str) -> None:
        self.log: MemoryEventLog = memory_log()
        self.works = True
        self.topic = topic
        settings = settings_for(
            "postgresql://nobody@127.0.0.1/none", role="x:y", bootstrap_servers=servers
        )
        assignment = Assignment()
        self.consumer = BatchConsumer(
            settings=settings,
            topics=[topic],
            group=topic,
            on_batch=self._take,
            assignment=assignment,
        )
        self.signs = VitalSigns(
            settings=settings,
            topics=[topic],
            log=self.log,
            consumer=self.consumer,
            assignment=assignment,
            busy=lambda: False,
        )

    async def _take(self, records: Sequence[Any]) -> None:
        if not self.works:
            await asyncio.sleep(0.05)
            message = "the world is unwell"
            raise Transient(message)
        async with self.log.transaction(partitions=[(self.topic, 0)]) as tx:
            tx.move_cursor((self.topic, 0), records[-1].offset + 1)

    async def cursor(self) -> int:
        return (await self.log.cursors()).get((self.topic, 0), 0)

    async def behind(self) -> int:
        sight = await self.signs.look()
        assert sight is not None
        return sight.behind


@asynccontextmanager
async def reading(servers: str, topic: str, *, works: bool) -> AsyncIterator[Reader]:
    reader = Reader(servers, topic)
    reader.works = works
    await reader.consumer.start()
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

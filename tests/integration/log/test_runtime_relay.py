"""The relay between a real log and a real broker: what a reader of the topics finds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas import BILLING
from services.runtime.flow.publishing.relay import Relay
from services.runtime.kafka.client import build_producer
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.log.event_log import DeadLetter
from tests.controls import T0, settings_for
from tests.infrastructure import Infrastructure
from tests.integration.toy_database import ROLE, ToyDatabase, open_toy_database
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, request

GROUP = "toys"


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    async with open_toy_database(fresh_database, Toy()) as database:
        yield database


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[str]:
    name = f"relay-{uuid4().hex[:12]}"
    names = [name, f"{name}.{GROUP}.dlq"]
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(each, SHARDS, 1) for each in names])
        yield name
        await admin.delete_topics(names)
    finally:
        await admin.close()


async def flush(toys: ToyDatabase, servers: str, topic: str) -> None:
    """Publish everything once, as a process of its own would."""
    settings = settings_for("postgresql://nobody@127.0.0.1/x", role=ROLE, bootstrap_servers=servers)
    relay = Relay(
        events=BILLING,
        log=toys.log,
        dead_letters=toys.letters,
        source="/billing/orders",
        topic=topic,
        group=GROUP,
        shards=lambda: range(SHARDS),
        producer_factory=lambda: build_producer(settings),
        logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
    )
    try:
        await relay.flush()
    finally:
        await relay.close()


async def read(servers: str, topic: str, count: int) -> list[Any]:
    """Return the first `count` records of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_log_is_on_the_topic_in_its_order_with_the_stored_bytes_and_only_once(
    infrastructure: Infrastructure, toys: ToyDatabase, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    await toys.intake.handle([request(n, topup_id=f"t-{n}") for n in range(20)])
    await flush(toys, servers, topic)
    await toys.intake.handle([request(20, topup_id="t-20")])
    await flush(toys, servers, topic)
    records = await read(servers, topic, 21)
    rows = await toys.pool.fetch("SELECT body, event_id FROM event ORDER BY position")
    assert [record.value for record in records] == [row["body"] for row in rows]
    headers = [dict(record.headers) for record in records]
    assert [int(each["ce_sequence"]) for each in headers] == list(range(1, 22))
    assert [each["ce_id"].decode() for each in headers] == [str(row["event_id"]) for row in rows]
    assert {record.partition for record in records} == {SHARD}
    assert await toys.log.unpublished("/billing/orders", range(SHARDS), limit=9) == {}


async def test_dead_letters_of_any_shape_reach_their_topic_and_stop_nobody(
    infrastructure: Infrastructure, toys: ToyDatabase, topic: str
) -> None:
    plain = DeadLetter(topic, 1, 0, b"k", b"v", (("x", b"\xff"),), "unlucky", "", 1, T0)
    letters = [
        plain,
        plain._replace(record_offset=1, key=None, value=None),
        plain._replace(record_offset=2, value=b"x" * 2_000_000),
        plain._replace(record_offset=3, headers=(("n\0ul", None), ("n\0ul", b""))),
    ]
    async with toys.log.transaction() as tx:
        await tx.add_dead_letters(letters)
    servers = infrastructure.bootstrap_servers
    await flush(toys, servers, topic)
    records = await read(servers, f"{topic}.{GROUP}.dlq", len(letters))
    assert [record.value for record in records] == [b"v", None, b"x" * BODY_BYTES_MAX, b"v"]
    assert [record.partition for record in records] == [1] * len(letters)
    offsets = [dict(record.headers)["dlq-original-offset"] for record in records]
    assert offsets == [b"0", b"1", b"2", b"3"]
    assert dict(records[2].headers)["dlq-original-bytes"] == b"2000003"
    assert await toys.letters.unpublished() == []

"""Settings of our topics on a real broker: compared, put right without touching others, and told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import REQUESTS, TOPICS
from services.cli.setup.setup import set_up_topics
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.kafka.limits import FETCH_BYTES_MAX, MESSAGE_BYTES_MAX
from services.runtime.kafka.topics.topic_limits import Difference, differences, put_right
from services.runtime.settings import KafkaSettings
from tests.controls import settings_for
from tests.infrastructure.system import System
from tests.integration.operation.test_operator_commands import perennial

LETTERS = REQUESTS.dead_letter_topic("orders")
DAY_MS = 24 * 60 * 60 * 1000


@asynccontextmanager
async def administering(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def settings_of(servers: str, topic: str) -> dict[str, str]:
    async with administering(servers) as admin:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [resource] = answer.to_object()["resources"]
    return {each["config_names"]: each["config_value"] for each in resource["config_entries"]}


async def change(servers: str, *changes: Difference) -> None:
    async with administering(servers) as admin:
        await put_right(admin, changes)


async def test_setup_puts_right_what_we_rely_on_and_leaves_all_else(
    system: System,
) -> None:
    servers = system.infrastructure.bootstrap_servers
    settings = KafkaSettings(bootstrap_servers=servers)
    shards = len((await describe(servers))["partitions"])
    assert await set_up_topics(settings, shards, 1) == []
    await change(
        servers,
        Difference(REQUESTS.name, "max.message.bytes", "", "9000000"),
        Difference(REQUESTS.name, "retention.ms", "", str(90 * DAY_MS)),
        Difference(REQUESTS.name, "segment.ms", "", "3600000"),
        Difference(LETTERS, "retention.ms", "", str(DAY_MS)),
        Difference(LETTERS, "cleanup.policy", "", "compact"),
    )
    problems = await told(system)
    assert f"{REQUESTS.name} has max.message.bytes 9000000" in problems
    assert f"{LETTERS} has cleanup.policy compact" in problems
    assert "run `perennial setup`" in problems
    found = await set_up_topics(settings, shards, 1)
    assert [(each.topic, each.name) for each in found] == [
        (REQUESTS.name, "max.message.bytes"),
        (LETTERS, "cleanup.policy"),
        (LETTERS, "retention.ms"),
    ]
    async with administering(servers) as admin:
        everything = await admin.describe_topics([REQUESTS.name, LETTERS])
        assert await differences(admin, TOPICS, everything) == []
    now = await settings_of(servers, REQUESTS.name)
    assert now["max.message.bytes"] == str(MESSAGE_BYTES_MAX)
    assert (now["retention.ms"], now["segment.ms"]) == (str(90 * DAY_MS), "3600000")
    assert "max.message.bytes" not in await told(system)


@pytest.mark.parametrize("claimed", [timedelta(days=-3650), timedelta(minutes=50)])
async def test_broker_dates_records_and_their_senders_cannot(
    system: System, claimed: timedelta
) -> None:
    """By its date a record is kept: one from years ago would be deleted before it is read."""
    servers = system.infrastructure.bootstrap_servers
    before = datetime.now(UTC)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        told = int((before + claimed).timestamp() * 1000)
        sent = await producer.send_and_wait(REQUESTS.name, b"{}", timestamp_ms=told)
    finally:
        await producer.stop()
    at = datetime.fromtimestamp(sent.timestamp / 1000, UTC)
    assert sent.timestamp_type == 1
    assert abs(at - before) < timedelta(minutes=10)


async def told(system: System) -> str:
    """Return what `perennial status` says, on one line."""
    result = await asyncio.to_thread(perennial, system, "status")
    return " ".join(str(result.stdout).split())


async def describe(servers: str) -> dict[str, list[object]]:
    async with administering(servers) as admin:
        [found] = await admin.describe_topics([REQUESTS.name])
    return dict(found)


async def test_consumer_asks_for_no_more_than_our_topics_hold(
    system: System,
) -> None:
    servers = system.infrastructure.bootstrap_servers
    settings = settings_for(
        "postgresql://nobody@127.0.0.1/x", role="a:b", bootstrap_servers=servers
    )

    async def take(_records: object) -> None:
        """Take nothing."""

    consumer = BatchConsumer(
        settings=settings,
        topics=[REQUESTS.name],
        group="orders",
        assignment=Assignment(),
    )
    await consumer.start(take)
    try:
        fetcher = consumer.consumer._fetcher  # noqa: SLF001 - nothing else tells
        assert fetcher._max_partition_fetch_bytes == MESSAGE_BYTES_MAX  # noqa: SLF001
        assert fetcher._fetch_max_bytes == FETCH_BYTES_MAX  # noqa: SLF001
    finally:
        await consumer.stop()

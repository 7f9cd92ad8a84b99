"""A log beside what was published of it, and a server that was not compared yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from schemas import BILLING
from schemas.topics import ORDERS, TOPICS
from services.runtime.authenticity import EventKeys
from services.runtime.errors import Halt, Transient
from services.runtime.flow.publishing.relay import Relay
from services.runtime.kafka.client import build_producer
from services.runtime.kafka.topics.own_topic import check_own_topic
from services.runtime.log.postgres_log import PostgresEventLog
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import EVENT_KEYS, delete_topics
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, request


@pytest.fixture
async def toys(infrastructure: Infrastructure, fresh_database: str) -> AsyncIterator[ToyDatabase]:
    """Five events, published."""
    servers = infrastructure.bootstrap_servers
    await delete_topics(servers)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(ORDERS.name, SHARDS, 1)])
    finally:
        await admin.close()
    async with open_toy_database(fresh_database, Toy()) as database:
        await database.intake.handle([request(n, topup_id=f"t-{n}") for n in range(5)])
        database.settings = database.settings.model_copy(
            update={"bootstrap_servers": servers, "event_keys": SecretStr(EVENT_KEYS)}
        )
        relay = Relay(
            events=BILLING,
            log=database.log,
            dead_letters=database.letters,
            source="/billing/orders",
            topic=ORDERS.name,
            group="orders",
            shards=lambda: range(SHARDS),
            producer_factory=lambda: build_producer(database.settings),
            logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
            signer=EventKeys.read(EVENT_KEYS, TOPICS).signer("orders"),
        )
        await relay.flush()
        await relay.close()
        yield database


async def changed(admin_dsn: str, *statements: str) -> None:
    """Do to the log what only the owner of its tables can, or a fail-over."""
    connection = await asyncpg.connect(admin_dsn, server_settings={"search_path": "orders"})
    try:
        await connection.execute("ALTER TABLE event DISABLE TRIGGER ALL")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def check(toys: ToyDatabase) -> None:
    async def nothing(_run: object) -> None:
        raise NotImplementedError

    await check_own_topic(toys.settings, toys.pool, toys.toy.processor({"act": nothing}))  # type: ignore[dict-item]


async def test_log_that_holds_what_was_published_is_trusted(toys: ToyDatabase) -> None:
    await check(toys)
    await toys.intake.handle([request(5, topup_id="t-5")])
    await check(toys)


async def test_log_that_lost_what_was_published_is_refused(
    toys: ToyDatabase, fresh_database: str
) -> None:
    lost = f"UPDATE shard SET head_sequence = 4 WHERE shard = {SHARD}"
    await changed(fresh_database, "DELETE FROM event WHERE position = 5", lost)
    with pytest.raises(Halt, match="holds event 5 of /billing/orders and this log ends at 4"):
        await check(toys)


async def test_log_that_gave_a_published_number_to_another_event_is_refused(
    toys: ToyDatabase, fresh_database: str
) -> None:
    another = "UPDATE event SET hash = sha256(hash) WHERE position = 5"
    await changed(fresh_database, another)
    with pytest.raises(Halt, match="holds another event 5"):
        await check(toys)


async def test_nothing_is_written_to_another_server_before_it_is_trusted(
    toys: ToyDatabase,
) -> None:
    log = PostgresEventLog(toys.pool)
    here = await log.server()
    assert here.rpartition("/")[2] == "00000001"
    log.trust("another/00000001")
    with pytest.raises(Transient, match="is compared before it is used"):
        async with log.transaction(shards={SHARD}):
            pass
    with pytest.raises(Transient):
        await log.lease_due_effects(now=datetime.now(UTC), limit=1)
    assert await log.ends()
    log.trust(here)
    async with log.transaction(shards={SHARD}) as tx:
        assert tx.heads[SHARD].position == 5

"""The relay on a broker whose answers are lost: a reader of the topic finds every number, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import Final
from uuid import uuid4

import pytest
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas import BILLING
from services.runtime.flow.publishing.relay import Relay
from services.runtime.kafka.records.partitions import shard_of
from tests.faults.kafka_proxy import KafkaProxy, Trouble
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import read_topics
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import ACCOUNT, OTHER_ACCOUNT, SHARD, SHARDS, Toy, request, until

EVENTS: Final = 300
"""In each of two shards."""
BATCH_BYTES: Final = 4_096
"""A handful of events: what a round of the relay has goes out in many batches."""
TROUBLES: Final = 4
"""Of each kind."""
ANSWER_MS: Final = 700
"""So long a client waits for an answer, and a batch for a leader."""
OTHER_SHARD: Final = shard_of(OTHER_ACCOUNT, SHARDS)


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    async with open_toy_database(fresh_database, Toy()) as database:
        for account in (ACCOUNT, OTHER_ACCOUNT):
            await database.intake.handle(
                [request(n, topup_id=f"{account}-{n}", account_id=account) for n in range(EVENTS)]
            )
        yield database


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[str]:
    name = f"relay-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, SHARDS, 1)])
        yield name
        await admin.delete_topics([name])
    finally:
        await admin.close()


@pytest.fixture
async def proxy(infrastructure: Infrastructure) -> AsyncIterator[KafkaProxy]:
    async with KafkaProxy(infrastructure.bootstrap_servers) as proxy:
        yield proxy


@asynccontextmanager
async def relaying(toys: ToyDatabase, proxy: KafkaProxy, topic: str) -> AsyncIterator[Relay]:
    """Run a relay that reaches the broker through `proxy`, and is soon out of patience with it."""
    relay = Relay(
        events=BILLING,
        log=toys.log,
        dead_letters=toys.letters,
        source="/billing/orders",
        topic=topic,
        group="toys",
        shards=lambda: range(SHARDS),
        producer_factory=lambda: AIOKafkaProducer(
            bootstrap_servers=proxy.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=ANSWER_MS,
        ),
        logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
    )
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await relay.close()


async def unpublished(toys: ToyDatabase) -> set[int]:
    """Return the shards that have news."""
    return set(await toys.log.unpublished("/billing/orders", range(SHARDS), limit=1))


async def published_but(toys: ToyDatabase, shards: set[int]) -> None:
    """Return when nothing is left to publish but in `shards`."""

    async def published() -> bool:
        return await unpublished(toys) <= shards

    await until(published)


async def has_failed(relay: Relay) -> bool:
    """Say whether the client gave something up."""
    return relay.counts.failures > 0


async def numbers(infrastructure: Infrastructure, topic: str) -> dict[int, list[int]]:
    """Return the numbers on each partition, in the order of its offsets."""
    found: dict[int, list[int]] = {}
    for record in await read_topics(infrastructure.bootstrap_servers, (topic,)):
        sequence = int(dict(record.headers)["ce_sequence"])
        found.setdefault(record.partition, []).append(sequence)
    return found


def check_whole(found: dict[int, list[int]]) -> None:
    """Fail unless each partition has every number, none behind a gap.

    A repetition begins where the relay had no answer, and goes on in order from there.
    """
    assert set(found) == {SHARD, OTHER_SHARD}
    for sequences in found.values():
        assert sequences[0] == 1
        jumps = [(was, then) for was, then in pairwise(sequences) if then > was + 1]
        assert jumps == []
        assert set(sequences) == set(range(1, EVENTS + 1))


@pytest.mark.parametrize("trouble", [*Trouble, None], ids=lambda t: t.name if t else "all")
async def test_lost_answers_leave_no_gap_and_change_no_order(
    infrastructure: Infrastructure,
    toys: ToyDatabase,
    proxy: KafkaProxy,
    topic: str,
    trouble: Trouble | None,
) -> None:
    chance = random.Random(7)
    left = TROUBLES * ([trouble] if trouble else list(Trouble))
    chance.shuffle(left)
    proxy.trouble = lambda _: left.pop() if left and chance.random() < 0.3 else None
    async with relaying(toys, proxy, topic):
        await published_but(toys, set())
    assert not left
    check_whole(await numbers(infrastructure, topic))


async def test_partition_that_is_without_a_leader_for_too_long_has_no_gap_afterwards(
    infrastructure: Infrastructure, toys: ToyDatabase, proxy: KafkaProxy, topic: str
) -> None:
    proxy.leaderless = {SHARD}
    async with relaying(toys, proxy, topic) as relay:
        await published_but(toys, {SHARD})
        await asyncio.sleep(1.5 * ANSWER_MS / 1000)
        # The client gave up the first batch: were there another behind it, it would go out now.
        assert relay.counts.failures
        assert await unpublished(toys) == {SHARD}
        proxy.leaderless = set()
        await published_but(toys, set())
    check_whole(await numbers(infrastructure, topic))


async def test_shard_that_fails_in_the_middle_goes_on_from_the_first_failure(
    infrastructure: Infrastructure, toys: ToyDatabase, proxy: KafkaProxy, topic: str
) -> None:
    asked = 0

    def second_never_arrives(partition: int) -> Trouble | None:
        nonlocal asked
        if partition != SHARD:
            return None
        asked += 1
        if asked == 2:
            proxy.leaderless = {SHARD}
            return Trouble.REFUSED
        return None

    proxy.trouble = second_never_arrives
    async with relaying(toys, proxy, topic) as relay:
        await until(partial(has_failed, relay))
        proxy.leaderless = set()
        await published_but(toys, set())
    found = await numbers(infrastructure, topic)
    check_whole(found)
    assert found[SHARD] == list(range(1, EVENTS + 1)), "what was acknowledged is not sent again"

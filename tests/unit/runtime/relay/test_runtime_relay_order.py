"""One batch of a shard at a time: what fails is the last that was sent, and holds up no other shard."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError

from services.runtime.kafka.records.partitions import shard_of
from tests.unit.runtime.relays import FakeProducer, World, running, world
from tests.unit.runtime.toy import OTHER_ACCOUNT, SHARD, SHARDS, until

__all__ = ["world"]


async def test_batch_that_fails_is_the_last_of_its_shard_and_is_sent_again_in_order(
    world: World,
) -> None:
    first = FakeProducer(world.sent, room=1, fails_after=1)
    world.shards = frozenset({SHARD})
    world.producers = [first]
    relay = world.relay()
    with pytest.raises(KafkaError):
        await relay.publish_once()
    # The first event was acknowledged, the second failed, and the third was never sent.
    assert first.batches == [(SHARD, 1), (SHARD, 1)]
    assert (await world.published())[SHARD] == 2
    await relay.close()
    second = FakeProducer(world.sent, room=1)
    world.producers = [second]
    assert await relay.publish_once() == 2
    async with world.log.transaction() as tx:
        streams = await tx.load_streams([f"order/t-{n}" for n in range(3)])
    bodies = [streams[f"order/t-{n}"][0].body for n in range(3)]
    assert [message["value"] for message in world.sent] == [bodies[0], *bodies[1:2], *bodies[1:]]


async def test_partition_that_does_not_answer_keeps_no_other_shard_waiting(world: World) -> None:
    producer = FakeProducer(world.sent, holds=SHARD)
    world.producers = [producer]
    other = shard_of(OTHER_ACCOUNT, SHARDS)

    async def others_published() -> bool:
        return set(await world.published()) == {SHARD}

    relay = world.relay()
    async with running(relay):
        await until(others_published)
        await asyncio.sleep(0.2)
    assert sorted(producer.batches) == sorted([(SHARD, 3), (other, 1)])
    await relay.close()

"""Publishing the log: order, acknowledgement, the exact bytes, and a producer that breaks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from schemas.topics import ORDERS, REQUESTS
from services.runtime.errors import Transient
from services.runtime.flow.letters.dead_letters import StoredDeadLetter
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from tests.controls import T0
from tests.unit.runtime.relays import (
    FakeProducer,
    World,
    headers_of,
    running,
    world,
)
from tests.unit.runtime.toy import (
    ACCOUNT,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    until,
)

__all__ = ["world"]

LETTER: Final = StoredDeadLetter(
    dead_letter_id=1,
    topic=REQUESTS.name,
    partition=2,
    record_offset=7,
    key=b"k",
    value=b"\xff",
    headers=(("ce_id", None), ("x", "/w==")),
    reason="body_invalid",
    detail="amount: is missing",
    attempts=2,
    dead_lettered_at=T0,
    published_at=None,
    redrive_asked_at=None,
    closed_at=None,
    closed_as=None,
    closed_note=None,
)


async def test_events_go_out_in_position_order_to_the_partition_of_their_shard(
    world: World,
) -> None:
    assert await world.relay().publish_once() == 4
    mine = [message for message in world.sent if message["partition"] == SHARD]
    sequences = [int(headers_of(message)["ce_sequence"]) for message in mine]
    assert sequences == [1, 2, 3]
    assert {message["topic"] for message in world.sent} == {ORDERS.name}
    assert [message["partition"] for message in world.sent if message not in mine] == [
        shard_of(OTHER_ACCOUNT, SHARDS)
    ]


async def test_the_stored_bytes_go_out_untouched_with_what_a_reader_needs(world: World) -> None:
    await world.relay().publish_once()
    async with world.log.transaction() as tx:
        [stored] = (await tx.load_streams(["order/t-0"]))["order/t-0"]
    message = next(each for each in world.sent if each["value"] == stored.body)
    headers = headers_of(message)
    assert message["key"] == ACCOUNT.encode()
    assert headers["ce_id"] == str(stored.event_id).encode()
    assert headers["ce_sequence"] == b"00000000000000000001"
    assert headers["ce_streamversion"] == b"1"
    assert headers["ce_traceparent"].decode() == stored.traceparent
    assert headers["content-type"] == b"application/json"


async def test_events_count_as_published_only_after_the_acknowledgement(world: World) -> None:
    gate = asyncio.Event()
    world.producers = [FakeProducer(world.sent, gate=gate)]
    publishing = asyncio.create_task(world.relay().publish_once())
    await until(world.all_sent)
    assert sum((await world.published()).values()) == 4
    gate.set()
    await publishing
    assert await world.published() == {}


async def test_acknowledgement_without_an_offset_is_none(world: World) -> None:
    world.producers = [FakeProducer(world.sent, offset=-1)]
    with pytest.raises(Transient, match="acks must be all"):
        await world.relay().publish_once()
    assert sum((await world.published()).values()) == 4


async def test_failed_send_moves_nothing_and_everything_is_sent_again(world: World) -> None:
    world.producers = [FakeProducer(world.sent, fails_after=2)]
    relay = world.relay()
    with pytest.raises(KafkaError):
        await relay.publish_once()
    assert sum((await world.published()).values()) == 4
    await relay.close()
    assert await relay.publish_once() == 4
    assert await world.published() == {}


async def test_producer_with_a_broken_sequence_is_replaced_by_a_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.flow.publishing.relay.RETRY_SECONDS", 0.01)
    world.producers = [FakeProducer([], fails_after=0), FakeProducer([], fails_after=0)]
    async with running(world.relay()):
        await until(world.all_published)
    assert [(each.started, each.stopped) for each in world.made[:2]] == [(1, 1), (1, 1)]
    assert len(world.made) == 3
    assert len(world.sent) == 4


async def test_producer_that_could_not_start_is_closed(world: World) -> None:
    world.producers = [FakeProducer(world.sent, start_fails=True)]
    with pytest.raises(KafkaConnectionError):
        await world.relay().publish_once()
    assert world.made[0].stopped
    assert await world.published()


async def test_only_shards_of_this_process_are_published(world: World) -> None:
    world.shards = frozenset({SHARD})
    assert await world.relay().publish_once() == 3
    assert {message["partition"] for message in world.sent} == {SHARD}


async def test_nothing_is_sent_twice_by_one_relay(world: World) -> None:
    relay = world.relay()
    await relay.flush()
    assert await relay.publish_once() == 0
    assert len(world.sent) == 4
    assert len(world.made) == 1


async def test_dead_letter_goes_to_the_groups_topic_as_it_arrived_and_why(world: World) -> None:
    world.letters.waiting = [LETTER]
    assert await world.relay().publish_once() == 5
    message = world.sent[-1]
    assert (message["topic"], message["partition"]) == ("billing.requests.v1.orders.dlq", 2)
    assert (message["key"], message["value"]) == (b"k", b"\xff")
    assert message["headers"][:2] == [("ce_id", None), ("x", b"\xff")]
    about = dict(message["headers"][2:])
    assert about == {
        "dlq-reason": b"body_invalid",
        "dlq-original-topic": REQUESTS.name.encode(),
        "dlq-original-partition": b"2",
        "dlq-original-offset": b"7",
        "dlq-at": T0.isoformat().encode(),
        "dlq-attempts": b"2",
    }
    assert world.letters.waiting == []


async def test_dead_letter_stays_unpublished_until_it_is_acknowledged(world: World) -> None:
    world.letters.waiting = [LETTER]
    world.producers = [FakeProducer(world.sent, fails_after=4)]
    with pytest.raises(KafkaError):
        await world.relay().publish_once()
    assert [each.dead_letter_id for each in world.letters.waiting] == [1]
    assert await world.published() == {}


async def test_dead_letter_without_key_and_value_gets_an_empty_key(
    world: World,
) -> None:
    world.letters.waiting = [replace(LETTER, key=None, value=None)]
    await world.relay().publish_once()
    assert (world.sent[-1]["key"], world.sent[-1]["value"]) == (b"", None)


@pytest.mark.parametrize(
    "large",
    [
        {"value": b"x" * 2_000_000},
        {"key": b"x" * 2_000_000},
        {"headers": (("x" * 2_000_000, None),)},
    ],
)
async def test_dead_letter_that_was_kept_whole_by_an_older_version_is_told_by_its_beginning(
    world: World, large: dict[str, Any]
) -> None:
    world.letters.waiting = [replace(LETTER, **large)]
    await world.relay().publish_once()
    message = world.sent[-1]
    sizes = [len(message["key"]), len(message["value"]), len(message["headers"][0][0])]
    assert all(size <= BODY_BYTES_MAX for size in sizes)
    assert int(headers_of(message)["dlq-original-bytes"]) > 2_000_000 - 1
    assert headers_of(message)["dlq-reason"] == b"body_invalid"
    assert headers_of(message)["dlq-original-offset"] == b"7"

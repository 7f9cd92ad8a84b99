"""Publishing the log: order, acknowledgement, the exact bytes, and a producer that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, KafkaError, OutOfOrderSequenceNumber

from schemas.topics import ORDERS, REQUESTS
from services.runtime.errors import Transient
from services.runtime.flow.dead_letters import DeadLetterBox, StoredDeadLetter
from services.runtime.flow.relay import Relay
from services.runtime.kafka.partitions import shard_of
from services.runtime.kafka.record_size import BODY_BYTES_MAX
from services.runtime.log.memory_log import MemoryEventLog
from tests.controls import T0
from tests.unit.runtime.toy import (
    ACCOUNT,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    Toy,
    begin,
    intake_of,
    memory_log,
    request,
    until,
)


@dataclass
class Acknowledgement:
    offset: int


@dataclass
class FakeBatch:
    room: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False

    def append(self, *, timestamp: float | None, **message: Any) -> object | None:
        assert timestamp is None
        if len(self.messages) == self.room:
            return None
        self.messages.append(message)
        return object()

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeProducer:
    """Takes messages; acknowledges with `offset`, or fails from `fails_after` messages on."""

    sent: list[dict[str, Any]]
    offset: int = 0
    fails_after: int | None = None
    gate: asyncio.Event | None = None
    room: int = 100
    holds: int | None = None
    batches: list[tuple[int, int]] = field(default_factory=list)
    started: int = 0
    stopped: int = 0
    start_fails: bool = False

    async def start(self) -> None:
        self.started += 1
        if self.start_fails:
            raise KafkaConnectionError

    async def stop(self) -> None:
        self.stopped += 1

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self.room)

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Task[Acknowledgement]:
        assert batch.closed
        self.batches.append((partition, len(batch.messages)))
        self.sent += [{"topic": topic, "partition": partition, **each} for each in batch.messages]
        broken = self.fails_after is not None and len(self.sent) > self.fails_after
        held = self.holds == partition
        return asyncio.create_task(self._acknowledge(broken=broken, held=held))

    async def send(self, **message: Any) -> asyncio.Task[Acknowledgement]:
        self.sent.append(message)
        broken = self.fails_after is not None and len(self.sent) > self.fails_after
        return asyncio.create_task(self._acknowledge(broken=broken))

    async def _acknowledge(self, *, broken: bool, held: bool = False) -> Acknowledgement:
        if held:
            await asyncio.Event().wait()
        if self.gate is not None:
            await self.gate.wait()
        if broken:
            raise OutOfOrderSequenceNumber
        return Acknowledgement(self.offset)


class FakeBox:
    """Dead letters without a database."""

    def __init__(self) -> None:
        self.waiting: list[StoredDeadLetter] = []

    async def unpublished(self) -> list[StoredDeadLetter]:
        return list(self.waiting)

    async def mark_published(self, dead_letter_ids: Collection[int]) -> None:
        self.waiting = [each for each in self.waiting if each.dead_letter_id not in dead_letter_ids]


@dataclass
class World:
    log: MemoryEventLog
    shards: frozenset[int] = frozenset(range(SHARDS))
    box: FakeBox = field(default_factory=FakeBox)
    sent: list[dict[str, Any]] = field(default_factory=list)
    producers: list[FakeProducer] = field(default_factory=list)
    made: list[FakeProducer] = field(default_factory=list)

    def relay(self) -> Relay:
        return Relay(
            log=self.log,
            dead_letters=cast("DeadLetterBox", self.box),
            source="/billing/orders",
            topic=ORDERS.name,
            group="orders",
            shards=lambda: self.shards,
            producer_factory=self._produce,
            logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
        )

    def _produce(self) -> FakeProducer:
        self.made.append(self.producers.pop(0) if self.producers else FakeProducer(self.sent))
        return self.made[-1]

    async def published(self) -> dict[int, int]:
        """Return how many own events each shard still has to publish."""
        found = await self.log.unpublished("/billing/orders", range(SHARDS), limit=100)
        return {shard: len(news.events) for shard, news in found.items()}

    async def all_published(self) -> bool:
        return not await self.published()

    async def all_sent(self) -> bool:
        return len(self.sent) == 4

    async def fifth_is_sent(self) -> bool:
        return len(self.sent) == 5


@pytest.fixture
async def world() -> World:
    log = memory_log()
    await begin(log)
    intake = intake_of(log, Toy().processor())
    requests = [request(n, topup_id=f"t-{n}") for n in range(3)]
    traced = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    requests[0].having("ce_traceparent", traced)
    await intake.handle([*requests, request(0, topup_id="t-o", account_id=OTHER_ACCOUNT)])
    return World(log)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def headers_of(message: dict[str, Any]) -> dict[str, bytes]:
    return dict(message["headers"])


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
    monkeypatch.setattr("services.runtime.flow.relay.RETRY_SECONDS", 0.01)
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


async def test_wake_publishes_at_once_what_was_committed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.flow.relay.POLL_SECONDS", 60)
    relay = world.relay()
    async with running(relay):
        await until(world.all_sent)
        await asyncio.sleep(0.05)
        await intake_of(world.log, Toy().processor()).handle([request(3, topup_id="t-9")])
        relay.wake()
        await until(world.fifth_is_sent)


async def test_dead_letter_goes_to_the_groups_topic_as_it_arrived_and_why(world: World) -> None:
    world.box.waiting = [LETTER]
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
    assert world.box.waiting == []


async def test_dead_letter_stays_unpublished_until_it_is_acknowledged(world: World) -> None:
    world.box.waiting = [LETTER]
    world.producers = [FakeProducer(world.sent, fails_after=4)]
    with pytest.raises(KafkaError):
        await world.relay().publish_once()
    assert [each.dead_letter_id for each in world.box.waiting] == [1]
    assert await world.published() == {}


async def test_dead_letter_without_key_and_value_gets_an_empty_key(
    world: World,
) -> None:
    world.box.waiting = [replace(LETTER, key=None, value=None)]
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
    world.box.waiting = [replace(LETTER, **large)]
    await world.relay().publish_once()
    message = world.sent[-1]
    sizes = [len(message["key"]), len(message["value"]), len(message["headers"][0][0])]
    assert all(size <= BODY_BYTES_MAX for size in sizes)
    assert int(headers_of(message)["dlq-original-bytes"]) > 2_000_000 - 1
    assert headers_of(message)["dlq-reason"] == b"body_invalid"
    assert headers_of(message)["dlq-original-offset"] == b"7"

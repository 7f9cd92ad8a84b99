"""A relay with a log in memory and a broker that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from schemas import BILLING
from schemas.topics import ORDERS
from services.runtime.flow.letters.dead_letters import DeadLetterTable, StoredDeadLetter
from services.runtime.flow.publishing.relay import Relay
from services.runtime.log.event_log import EventLog
from tests.unit.runtime.toy import (
    OTHER_ACCOUNT,
    SHARDS,
    Toy,
    begin,
    intake_of,
    memory_log,
    request,
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


class FakeDeadLetters:
    """Dead letters without a database."""

    def __init__(self) -> None:
        self.waiting: list[StoredDeadLetter] = []

    async def unpublished(self) -> list[StoredDeadLetter]:
        return list(self.waiting)

    async def mark_published(self, letters: Collection[StoredDeadLetter]) -> None:
        self.waiting = [each for each in self.waiting if each not in letters]


@dataclass
class World:
    log: EventLog
    shards: frozenset[int] = frozenset(range(SHARDS))
    letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    sent: list[dict[str, Any]] = field(default_factory=list)
    producers: list[FakeProducer] = field(default_factory=list)
    made: list[FakeProducer] = field(default_factory=list)

    def relay(self) -> Relay:
        return Relay(
            events=BILLING,
            log=self.log,
            dead_letters=cast("DeadLetterTable", self.letters),
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
    """Return a world whose log has three events of one shard and one of another."""
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

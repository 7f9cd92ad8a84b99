"""Drives a line of three stages with a bounded number of renewals under way, and counts.

A renewal is finished when it is activated (its events are on the orders topic), booked (the
ledger's cursor in the database is behind them) and notified: the slowest of the three counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition

from deploy.bench.system.load import Load
from deploy.local.errors import StackError
from schemas.registry import SHARD_COUNT_DEFAULT
from services.runtime.kafka.consumers import build_consumer

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

EVENTS_PER_RENEWAL: Final = 3
"""RenewalAccepted, PaymentCaptured, PlanActivated."""
_LOOK_SECONDS: Final = 0.1
_STALLED_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class BenchLine:
    """Where a line of three stages reads and writes, and how its ledger's cursor is read."""

    bootstrap_servers: str
    dsn: str
    requests: str
    orders: str
    notifications: str
    booked_query: str


class Counts(NamedTuple):
    """Renewals that each stage has dealt with."""

    activated: float
    booked: float
    notified: float


@dataclass(slots=True)
class Run:
    """What a drive saw: `samples` are (seconds, finished renewals)."""

    samples: list[tuple[float, float]] = field(default_factory=list)
    sent: int = 0
    seconds: float = 0.0
    """Until the last renewal was finished, which is when CPU time is read too."""


class Watcher:
    """Counts what a line has done, from end offsets and a cursor: it reads no message."""

    def __init__(
        self, line: BenchLine, consumer: AIOKafkaConsumer, connection: asyncpg.Connection
    ) -> None:
        """Watch `line`; `watching` opens what this needs."""
        self._line = line
        self._consumer = consumer
        self.connection = connection

    async def counts(self) -> Counts:
        """Return the counts since the topics were made."""
        orders = await self.end_of(self._line.orders)
        booked = int(await self.connection.fetchval(self._line.booked_query, self._line.orders))
        notified = await self.end_of(self._line.notifications)
        return Counts(orders / EVENTS_PER_RENEWAL, booked / EVENTS_PER_RENEWAL, notified)

    async def end_of(self, topic: str) -> int:
        """Return how many records are on a topic."""
        partitions = [TopicPartition(topic, n) for n in range(SHARD_COUNT_DEFAULT)]
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        return sum(ends.values())


@asynccontextmanager
async def watching(line: BenchLine) -> AsyncIterator[Watcher]:
    """Open what counting needs."""
    connection = await asyncpg.connect(line.dsn)
    consumer = build_consumer({"bootstrap_servers": line.bootstrap_servers})
    await consumer.start()
    try:
        yield Watcher(line, consumer, connection)
    finally:
        await consumer.stop()
        await connection.close()


@asynccontextmanager
async def producing(
    bootstrap_servers: str, *, linger_ms: int = 5
) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer as an upstream would configure it for speed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=128 * 1024,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def drive(line: BenchLine, load: Load, *, seconds: float, window: int) -> Run:
    """Send `load` for `seconds`, never more than `window` unfinished; return when all is finished.

    Raises:
        StackError: nothing was finished for half a minute.
    """
    run = Run()
    async with producing(line.bootstrap_servers) as producer, watching(line) as watcher:
        before = await watcher.counts()
        started = last_change = time.monotonic()
        finished = 0.0
        while True:
            now = await watcher.counts()
            elapsed = time.monotonic() - started
            done = min(n - b for n, b in zip(now, before, strict=True))
            if done > finished:
                finished, last_change = done, time.monotonic()
            run.samples.append((elapsed, done))
            if elapsed < seconds:
                run.sent += await _send(producer, line, load, run.sent, window + int(done))
            elif finished >= run.sent:
                run.seconds = elapsed
                return run
            if time.monotonic() - last_change > _STALLED_SECONDS:
                message = f"{run.sent} renewals were requested and stages stand at {now} - {before}"
                raise StackError(message)
            await asyncio.sleep(_LOOK_SECONDS)


async def _send(
    producer: AIOKafkaProducer, line: BenchLine, load: Load, first: int, limit: int
) -> int:
    """Send the requests from `first` on, below `limit`; return how many."""
    numbers = range(first, limit)
    for number in numbers:
        await producer.send(line.requests, **load.message(number))
    await producer.flush()
    return len(numbers)

"""The state of a service in its database and broker, read on request and cached briefly.

A server that does not answer costs nobody more than `READ_SECONDS`: its part is then absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import Transient
from services.runtime.kafka.held_back import Held, HeldBack
from services.runtime.kafka.topics.reach import by_partition, log_ends
from services.runtime.log.event_log import TopicPartition
from services.runtime.log.tables import cursors, dead_letters, effects, parked_shards
from services.runtime.postgres.errors import UNWELL

READ_SECONDS: Final = 2.0
KEPT_SECONDS: Final = 2.0

_SHARDS: Final = (
    "SELECT shard, head_position, published_position, (SELECT greatest(0, extract(epoch FROM"
    " clock_timestamp() - event.recorded_at))::float8 FROM event WHERE event.shard = shard.shard"
    " AND event.position = shard.published_position + 1) AS unpublished_seconds FROM shard"
)
Rows = Sequence[Any]
"""asyncpg's records, or anything with their keys."""


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """The rows of one reading."""

    shards: Rows
    effects: Rows
    dead_letters: Rows
    cursors: Mapping[TopicPartition, int]
    overflow: int = 0
    parked: Rows = ()


@dataclass(frozen=True, slots=True)
class BrokerView:
    """Offsets of the partitions that this process holds: where each starts and may be read up to.

    `held` is what open transactions hold back behind that.
    """

    starts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    committed: Mapping[TopicPartition, int]
    held: Mapping[TopicPartition, Held] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """What was seen; None for a server that did not answer in time."""

    database: DatabaseView | None = None
    broker: BrokerView | None = None
    partitions: frozenset[TopicPartition] = field(default_factory=frozenset)


class Observer:
    """Reads both servers, one reading at a time."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        consumer: Callable[[], AIOKafkaConsumer | None],
        partitions: Callable[[], frozenset[TopicPartition]],
        held_back: HeldBack,
        monotonic: Callable[[], float],
    ) -> None:
        """Look through `pool`, and through the running consumer at the partitions it holds."""
        self._pool = pool
        self._consumer = consumer
        self._partitions = partitions
        self._held_back = held_back
        self._monotonic = monotonic
        self._database: asyncio.Task[DatabaseView | None] | None = None
        self._broker: asyncio.Task[BrokerView | None] | None = None
        self._view = View()
        self._read_at: float | None = None

    async def look(self) -> View:
        """Return what is seen now, or was a moment ago. Raises nothing, and waits only so long."""
        if self._read_at is None or self._monotonic() - self._read_at >= KEPT_SECONDS:
            self._database = _running(self._database) or asyncio.create_task(self._read_database())
            self._broker = _running(self._broker) or asyncio.create_task(self._read_broker())
            # A driver that cannot even give up is left behind, and not started a second time.
            await asyncio.wait((self._database, self._broker), timeout=READ_SECONDS + 0.5)
            self._view = View(_result(self._database), _result(self._broker), self._partitions())
            self._read_at = self._monotonic()
        return self._view

    async def close(self) -> None:
        """Give up what is being read."""
        tasks = [task for task in (self._database, self._broker) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_database(self) -> DatabaseView | None:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.acquire(timeout=READ_SECONDS) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                places = await connection.fetch(cursors.ALL)
                return DatabaseView(
                    shards=await connection.fetch(_SHARDS),
                    effects=await connection.fetch(effects.COUNTED),
                    dead_letters=await connection.fetch(dead_letters.COUNTED),
                    overflow=sum(
                        row["letters"] for row in await connection.fetch(dead_letters.OVERFLOW)
                    ),
                    parked=await connection.fetch(parked_shards.SHOWN),
                    cursors={
                        (row["topic"], row["partition"]): row["next_offset"] for row in places
                    },
                )
        except (*UNWELL, asyncpg.PostgresError):
            return None

    async def _read_broker(self) -> BrokerView | None:
        consumer = self._consumer()
        partitions = self._partitions()
        wanted = [KafkaPartition(*partition) for partition in sorted(partitions)]
        if consumer is None or not wanted:
            return None
        with suppress(KafkaError, Transient, OSError, TimeoutError, AttributeError):
            async with asyncio.timeout(READ_SECONDS):
                log_end = await log_ends(consumer, partitions)
                starts, ends, committed = await asyncio.gather(
                    consumer.beginning_offsets(wanted),
                    consumer.end_offsets(wanted),
                    asyncio.gather(*(consumer.committed(each) for each in wanted)),
                )
            return BrokerView(
                starts=by_partition(starts),
                ends=by_partition(ends),
                committed={
                    (tp.topic, tp.partition): offset
                    for tp, offset in zip(wanted, committed, strict=True)
                    if offset is not None
                },
                held=self._held_back.note(by_partition(ends), log_end),
            )
        return None


def _running(task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
    return task if task is not None and not task.done() else None


def _result(task: asyncio.Task[Any]) -> Any:  # noqa: ANN401 - either view
    return None if not task.done() or task.cancelled() or task.exception() else task.result()

"""What can be seen of a running service: for the readiness probe, and for the watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import PerennialError, Transient
from services.runtime.flow.intake.pauses import Pauses
from services.runtime.kafka.client import (
    Assignment,
    BatchConsumer,
    check_topics,
    client_options,
)
from services.runtime.kafka.consumers import build_consumer
from services.runtime.kafka.held_back import HeldBack
from services.runtime.kafka.topics.reach import by_partition, log_ends
from services.runtime.log.event_log import EventLog
from services.runtime.settings import RuntimeSettings
from services.runtime.watch.health import Readiness
from services.runtime.watch.watchdog import Progress

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_PROBE_TIMEOUT_SECONDS: Final = 3.0
_READ_TIMEOUT_SECONDS: Final = 10.0
_FETCH_MS: Final = 200


class VitalSigns:
    """Looks at cursors, topics and the log of one service."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        settings: RuntimeSettings,
        topics: Sequence[str],
        log: EventLog,
        consumer: BatchConsumer,
        assignment: Assignment,
        busy: Callable[[], bool],
        pauses: Pauses,
        held_back: HeldBack,
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Look at a service that reads `topics`; `busy` says whether a batch is in hand.

        What it sees of open transactions it notes in `held_back`.
        `trouble` says why the service waits on purpose, and does nothing.
        """
        self._settings = settings
        self._topics = topics
        self._log = log
        self._consumer = consumer
        self._assignment = assignment
        self._busy = busy
        self._pauses = pauses
        self._held_back = held_back
        self._trouble = trouble

    async def readiness(self) -> Readiness:
        """Say whether this process does its work now."""
        trouble = self._trouble()
        problems = [] if trouble is None else [trouble]
        partitions = self._moving(self._assignment.partitions)
        if not self._assignment.partitions:
            problems.append("no partition is assigned yet")
        cursors: Mapping[tuple[str, int], int] = {}
        try:
            cursors = await asyncio.wait_for(self._log.cursors(), _PROBE_TIMEOUT_SECONDS)
        except (Transient, TimeoutError):
            problems.append("Postgres does not answer")
        lag = 0
        try:
            lag = await self._behind(cursors, partitions)
        except (KafkaError, Transient, TimeoutError, OSError, AttributeError):
            problems.append("Kafka does not answer")
        if lag > self._settings.ready_lag_max:
            problems.append(f"behind by {lag} records")
        return Readiness(
            problems,
            lag,
            len(self._assignment.partitions),
            self._pauses.said(),
            self._held_back.said(partitions),
        )

    async def look(self) -> Progress | None:
        """See what moves. A process without partitions looks at all of them: it may be a spare."""
        partitions = self._looked_at()
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
                cursors = await self._log.cursors()
                publishing = await self._log.publishing(self._assignment.shards())
        except (Transient, TimeoutError):
            return None
        try:
            behind = await self._behind(cursors, partitions)
        except (KafkaError, Transient, TimeoutError, OSError, AttributeError):
            behind = 1  # our own connections do not answer: that alone is a reason to suspect
        return Progress(
            consumed=tuple(sorted(cursors.items())),
            behind=behind,
            busy=self._busy() or self._trouble() is not None,
            published=tuple(sorted((shard, at[0]) for shard, at in publishing.items())),
            unpublished=sum(head - published for published, head in publishing.values()),
        )

    async def kafka_answers(self) -> bool:
        """Ask the broker with a new connection."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
                await check_topics(self._settings, self._topics)
        except (KafkaError, TimeoutError, OSError, PerennialError):
            return False
        return True

    async def records_wait(self) -> bool:
        """Say whether a record waits behind a cursor, read with a new connection.

        Where a topic ends with the commit of a transaction, its end stays ahead of the cursor.
        A process without partitions has no position that has passed it.
        """
        consumer = build_consumer(client_options(self._settings), auto_offset_reset="earliest")
        try:
            async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
                cursors = await self._log.cursors()
                await consumer.start()
                return await _finds_record(consumer, self._looked_at(), cursors)
        except (KafkaError, PerennialError, TimeoutError, OSError):
            return False
        finally:
            await consumer.stop()

    def _looked_at(self) -> frozenset[tuple[str, int]]:
        """Return the partitions of this process; all of them for one that has none.

        Those of a parked shard stand still, and nobody is stuck for that.
        """
        shards = range(self._settings.shard_count)
        everything = frozenset((topic, shard) for topic in self._topics for shard in shards)
        return self._moving(self._assignment.partitions or everything)

    def _moving(self, partitions: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        parked = self._pauses.shards()
        return frozenset(each for each in partitions if each[1] not in parked)

    async def _behind(
        self, cursors: Mapping[tuple[str, int], int], partitions: frozenset[tuple[str, int]]
    ) -> int:
        wanted = [TopicPartition(*partition) for partition in sorted(partitions)]
        consumer = self._consumer.consumer
        async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
            log_end = await log_ends(consumer, partitions)
            ends = await consumer.end_offsets(wanted)
            self._held_back.note(by_partition(ends), log_end)
            # The end counts what is no record, such as the commit of an upstream's transaction:
            # a consumer passes it at once, and the cursor only with the record behind it.
            mine = [tp for tp in wanted if tp in consumer.assignment()]
            passed = {tp: await consumer.position(tp) for tp in mine}
        return sum(
            max(0, end - max(cursors.get((tp.topic, tp.partition), 0), passed.get(tp, 0)))
            for tp, end in ends.items()
        )


async def _finds_record(
    consumer: AIOKafkaConsumer,
    partitions: frozenset[tuple[str, int]],
    cursors: Mapping[tuple[str, int], int],
) -> bool:
    """Read from the cursors to the ends, until a record comes."""
    wanted = [TopicPartition(*partition) for partition in sorted(partitions)]
    ends = await consumer.end_offsets(wanted)
    starts = {tp: cursors.get((tp.topic, tp.partition), 0) for tp in wanted}
    unread = [tp for tp in wanted if ends[tp] > starts[tp]]
    if not unread:
        return False
    consumer.assign(unread)
    for tp in unread:
        consumer.seek(tp, starts[tp])
    while any([await consumer.position(tp) < ends[tp] for tp in unread]):
        if any((await consumer.getmany(timeout_ms=_FETCH_MS)).values()):
            return True
    return False

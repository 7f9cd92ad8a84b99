"""What happens to one batch from Kafka: wait for room, record it, hand on what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from services.runtime.errors import Halt, Transient
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.intake.guard import ShardGuard
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.result import IntakeResult
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.kafka.topics.topic_identity import KnownTopics
from services.runtime.log.event_log import EventLog, TopicPartition
from services.runtime.logs import Logger
from services.runtime.metrics.metrics import Metrics
from services.runtime.stopping import Stopping

_BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class BatchHandler:
    """Handles one batch at a time; an exception has the consumer deliver it again."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        intake: Intake,
        guard: ShardGuard,
        effects: EffectRunner,
        known_topics: KnownTopics,
        assignment: Assignment,
        consumer: BatchConsumer,
        metrics: Metrics,
        stopping: Stopping,
        logger: Logger,
    ) -> None:
        """Record into `log`; `stopping` is told what makes going on impossible."""
        self._log = log
        self._intake = intake
        self._guard = guard
        self._effects = effects
        self._known_topics = known_topics
        self._assignment = assignment
        self._consumer = consumer
        self._metrics = metrics
        self._stopping = stopping
        self._logger = logger
        self._failures_in_a_row = 0
        self._checked: set[TopicPartition] = set()
        self._in_hand = False

    def is_busy(self) -> bool:
        """Say whether a batch is in hand, or waits for room."""
        return self._in_hand

    async def handle(self, records: Sequence[Record]) -> None:
        """Handle one batch.

        Raises:
            Transient: nothing was recorded; deliver the batch again.
        """
        self._in_hand = True
        try:
            await self._effects.room()
            started = time.monotonic()
            result = await self._recorded(records)
            await self._follow_up(records, result, time.monotonic() - started)
        finally:
            self._in_hand = False

    async def _recorded(self, records: Sequence[Record]) -> IntakeResult:
        try:
            await self._check_topics(records)
            result = await self._guard.handle(records)
        except Transient as error:
            wait = _BACK_OFF_SECONDS[min(self._failures_in_a_row, len(_BACK_OFF_SECONDS) - 1)]
            self._failures_in_a_row += 1
            self._metrics.batch_not_committed(comes_again=True)
            self._logger.warning(
                "batch_retried", records=len(records), wait_seconds=wait, error=str(error)
            )
            await asyncio.sleep(wait)
            raise
        except asyncio.CancelledError:
            if self._stopping.is_asked():
                raise
            # A cancellation from inside a library would end FastStream's consume loop for good.
            message = "the batch was cancelled from inside: delivering it again"
            raise Transient(message) from None
        except Exception as error:
            self._metrics.batch_not_committed(comes_again=False)
            self._stopping.fail(error)
            raise
        self._failures_in_a_row = 0
        return result

    async def _follow_up(
        self, records: Sequence[Record], result: IntakeResult, seconds: float
    ) -> None:
        self._metrics.batch_committed(len(records), seconds, result.outcomes)
        self._effects.submit(result.leased)
        await self._seek(result.seeks, result.pauses)
        self._logger.info(
            "batch",
            records=len(records),
            events=result.events,
            effects=len(result.leased),
            duration_ms=round(seconds * 1000, 1),
            **({"seeks": len(result.seeks)} if result.seeks else {}),
            **dict(result.outcomes),
        )

    async def _seek(
        self, seeks: Mapping[TopicPartition, int], pauses: Collection[TopicPartition]
    ) -> None:
        """Send the consumer to the cursors of partitions where it is somewhere else; pause the parked.

        Raises:
            Halt: a topic no longer holds what the cursor expects.
        """
        if not seeks:
            return
        try:
            await self._known_topics.check_reach(seeks)
        except Halt as error:
            self._stopping.fail(error)
            raise
        for partition, offset in seeks.items():
            if self._consumer.seek(*partition, offset):
                self._intake.sought(partition, offset)
                self._metrics.sought(1)
        for partition in pauses:
            self._consumer.pause(*partition)

    async def _check_topics(self, records: Sequence[Record]) -> None:
        """Before the first records of a partition, see that its topic holds what its cursor expects.

        Raises:
            Halt: a topic no longer holds what a cursor expects.
        """
        if {(record.topic, record.partition) for record in records} <= self._checked:
            return
        held = self._assignment.partitions
        await self._known_topics.know(self._log, held)
        self._checked |= held

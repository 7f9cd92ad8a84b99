"""The running parts of one service and their order of starting and stopping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Generic

import asyncpg
from aiokafka.errors import KafkaError

from services.runtime.clock import ClockWatch, DatabaseClock
from services.runtime.errors import Transient
from services.runtime.flow.batches import BatchHandler
from services.runtime.flow.dead_letters import DeadLetterBox
from services.runtime.flow.effects import EffectRunner
from services.runtime.flow.give_ups import GiveUpDesk
from services.runtime.flow.guard import ShardGuard
from services.runtime.flow.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.letter_room import LetterRoom
from services.runtime.flow.letter_topic import LetterPublisher
from services.runtime.flow.log_ends import LogWatch
from services.runtime.flow.operator_desk import OperatorDesk
from services.runtime.flow.parking import ParkingBox, ParkingDesk
from services.runtime.flow.pauses import Pauses
from services.runtime.flow.relay import Relay
from services.runtime.flow.rereading import Originals
from services.runtime.flow.stepping import Stepping
from services.runtime.flow.work import Recorded
from services.runtime.kafka.authenticity import EventKeys
from services.runtime.kafka.client import Assignment, BatchConsumer, build_producer
from services.runtime.kafka.held_back import HeldBack
from services.runtime.kafka.own_topic import check_own_topic
from services.runtime.kafka.topic_identity import KnownTopics
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.log.taken_events import TakenEvents
from services.runtime.logs import Logger
from services.runtime.processor import Processor, StateT
from services.runtime.settings import RuntimeSettings
from services.runtime.verify.head_writer import head_writer_of
from services.runtime.watch.exposition import Exposition
from services.runtime.watch.health import HealthServer, Readiness
from services.runtime.watch.metrics import Metrics
from services.runtime.watch.tracing import UNTRACED, Tracing
from services.runtime.watch.vital_signs import VitalSigns
from services.runtime.watch.watchdog import Watchdog


class ServiceProcess(Generic[StateT]):
    """The running parts of one service."""

    def __init__(  # noqa: PLR0913 - what is opened before it, by name
        self,
        *,
        settings: RuntimeSettings,
        processor: Processor[StateT],
        pool: asyncpg.Pool,
        clock: DatabaseClock,
        logger: Logger,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """Wire `processor` to Kafka and Postgres; `clock` is that of the database of `pool`."""
        self._settings = settings
        self._processor = processor
        self._pool = pool
        self._clock_watch = ClockWatch(clock, pool)
        self._logger = logger
        self._tracing = tracing
        self._stop_asked = asyncio.Event()
        self._failure: BaseException | None = None
        self._log = PostgresEventLog(pool, lease_seconds=settings.effect_lease_seconds, clock=clock)
        dead_letters = DeadLetterBox(pool)
        event_keys = EventKeys.of(settings.event_keys)
        self._assignment = Assignment()
        self._metrics = Metrics.of(processor)
        processor = replace(processor, executors=self._metrics.measured(processor.executors))
        journal = Journal(processor, on_committed=self._committed)
        self._known_topics = KnownTopics(
            pool, settings, [subscription.topic for subscription in processor.subscriptions]
        )
        self._letters = LetterPublisher(lambda: build_producer(settings), processor.group)
        intake = Intake(
            log=self._log,
            processor=processor,
            journal=journal,
            shard_count=settings.shard_count,
            clock=clock.now,
            letters=LetterRoom(self._letters.publish),
            tracing=tracing,
            verifier=event_keys.verifier(processor.group) if event_keys else None,
        )
        self._pauses = Pauses(
            log=self._log, consumer=lambda: self._consumer, assignment=self._assignment
        )
        self._log_watch = LogWatch(
            log=self._log,
            committed=lambda: journal.heads,
            logger=logger,
            compare_published=lambda: check_own_topic(settings, pool, processor),
        )
        self._effects = EffectRunner(
            log=self._log,
            processor=processor,
            journal=journal,
            concurrency=settings.effect_concurrency,
            lease_seconds=settings.effect_lease_seconds,
            look_up_first=settings.look_up_first,
            clock=clock.now,
            logger=logger,
            tracing=tracing,
        )
        give_ups = GiveUpDesk(
            pool=pool,
            log=self._log,
            processor=processor,
            journal=journal,
            clock=clock.now,
            logger=logger,
        )
        self._relay = Relay(
            log=self._log,
            dead_letters=dead_letters,
            source=processor.source,
            topic=processor.output_topic,
            group=processor.group,
            shards=self._assignment.shards,
            producer_factory=lambda: build_producer(settings),
            logger=logger,
            tracing=tracing,
            signer=event_keys.signer(processor.group) if event_keys else None,
        )
        self._batches = BatchHandler(
            log=self._log,
            intake=intake,
            guard=ShardGuard(
                log=self._log,
                intake=intake,
                logger=logger,
                confirm_topics=self._known_topics.check,
            ),
            effects=self._effects,
            known_topics=self._known_topics,
            assignment=self._assignment,
            consumer=lambda: self._consumer,
            metrics=self._metrics,
            on_failure=self._fail,
            stopping=self._stop_asked.is_set,
            logger=logger,
        )
        originals = Originals(settings)
        self._desk = OperatorDesk(
            dead_letters=dead_letters,
            originals=originals,
            give_ups=give_ups,
            parking=ParkingDesk(
                box=ParkingBox(pool),
                dead_letters=dead_letters,
                originals=originals,
                log=self._log,
                intake=intake,
                step_over=Stepping(
                    settings=settings, log=self._log, intake=intake, clock=clock.now
                ).step,
                logger=logger,
            ),
            intake=intake,
            effects=self._effects,
            metrics=self._metrics,
        )
        self._consumer = BatchConsumer(
            settings=settings,
            topics=[subscription.topic for subscription in processor.subscriptions],
            group=processor.group,
            on_batch=self._batches.handle,
            assignment=self._assignment,
        )
        held_back = HeldBack(time.monotonic)
        self._signs = VitalSigns(
            settings=settings,
            topics=[subscription.topic for subscription in processor.subscriptions],
            log=self._log,
            consumer=self._consumer,
            assignment=self._assignment,
            busy=lambda: self._batches.in_hand,
            trouble=clock.trouble,
            pauses=self._pauses,
            held_back=held_back,
        )
        self._watchdog = Watchdog(
            self._signs.look,
            kafka_answers=self._signs.kafka_answers,
            records_wait=self._signs.records_wait,
            limit_seconds=settings.watchdog_seconds,
            monotonic=time.monotonic,
        )
        self._head_writer = head_writer_of(settings, processor.group, pool, clock.counted, logger)
        self._exposition = Exposition(
            metrics=self._metrics,
            processor=processor,
            settings=settings,
            pool=pool,
            relay=self._relay.counts,
            clock=clock.counts,
            consumer=self._consumer,
            assignment=self._assignment,
            held_back=held_back,
            heads=self._head_writer.kept if self._head_writer else None,
        )
        self._health = HealthServer(
            service=processor.group,
            host=settings.http_host,
            port=settings.http_port,
            alive=lambda: self._failure is None,
            readiness=self._readiness,
            metrics=self._exposition.text,
        )

    def stop(self) -> None:
        """Ask for an orderly stop."""
        self._stop_asked.set()

    async def run(self) -> None:
        """Serve until stopped, or raise what made going on impossible."""
        await self._clock_watch.look()
        # Before whoever watches the topics keeps what they are by then.
        await self._known_topics.meet(self._log)
        await self._health.start()
        work = [
            asyncio.create_task(self._effects.run(), name="effects"),
            asyncio.create_task(self._relay.run(), name="relay"),
        ]
        watches = [
            asyncio.create_task(self._desk.run(), name="operator"),
            asyncio.create_task(
                self._known_topics.watch(self._log, self._consumer, self._assignment),
                name="topics",
            ),
            asyncio.create_task(self._watchdog.run(), name="watchdog"),
            asyncio.create_task(self._pauses.run(), name="parked shards"),
            asyncio.create_task(self._log_watch.run(), name="log"),
            asyncio.create_task(TakenEvents(self._pool).run(), name="taken events"),
            asyncio.create_task(self._clock_watch.run(), name="clock"),
        ]
        if self._head_writer:
            watches.append(asyncio.create_task(self._head_writer.run(), name="heads"))
        for task in (*work, *watches):
            task.add_done_callback(self._on_task_done)
        try:
            await self._consumer.start()
            self._logger.info("started", group=self._processor.group, http_port=self._health.port)
            await self._stop_asked.wait()
        finally:
            await self._shut_down(work, watches)
        if self._failure is not None:
            raise self._failure

    async def _shut_down(
        self, work: Sequence[asyncio.Task[None]], watches: Sequence[asyncio.Task[None]]
    ) -> None:
        """Stop fetching, finish the batch, record effects, flush the relay: within the time allowed."""
        budget = self._settings.stop_timeout_seconds
        ends_at = time.monotonic() + budget
        self._logger.info("stopping", within_seconds=budget)
        # Those who look at the consumer go before it: a closed one is no failure.
        await _cancelled(watches)
        await self._bounded("consumer", self._consumer.stop(), ends_at)
        await self._bounded("effects", self._effects.stop(budget / 3), ends_at)
        await _cancelled(work)
        if self._failure is None:
            await self._bounded("relay", self._relay.flush(), ends_at)
        await self._bounded("producer", self._relay.close(), ends_at)
        await self._bounded("dead letters", self._letters.close(), ends_at)
        await self._health.stop()
        await self._bounded("metrics", self._exposition.close(), ends_at)
        await self._bounded("tracing", self._tracing.close(), ends_at)
        self._logger.info("stopped")

    async def _bounded(self, part: str, work: Awaitable[object], ends_at: float) -> None:
        try:
            await asyncio.wait_for(work, max(1.0, ends_at - time.monotonic()))
        except (TimeoutError, Transient, KafkaError, OSError) as error:
            # Nothing is lost: the cursor, the effects and the log are in the database.
            self._logger.warning("stop_incomplete", part=part, error=type(error).__name__)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            # A group of tasks wraps what ended it; the exit status depends on what that was.
            error = error.exceptions[0]
        if self._failure is None:
            self._failure = error
        self._stop_asked.set()

    def _committed(self, recorded: Recorded) -> None:
        """Count what a transaction committed, and publish it."""
        self._metrics.committed(recorded.facts)
        self._relay.add(recorded.events)

    async def _readiness(self) -> Readiness:
        if self._stop_asked.is_set():
            return Readiness(["stopping"])
        return await self._signs.readiness()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

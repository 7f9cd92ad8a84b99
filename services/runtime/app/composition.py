"""The parts of one service process and what each is made of. What starts and stops them: `process`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial

import asyncpg

from schemas.registry import retention
from services.runtime.authenticity import EventKeys
from services.runtime.clock.database_clock import ClockWatch, DatabaseClock
from services.runtime.flow.effects.due_times import POLL_SECONDS, VIRTUAL_POLL_SECONDS
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.intake.batches import BatchHandler
from services.runtime.flow.intake.guard import ShardGuard
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.pauses import Pauses
from services.runtime.flow.journal import Journal
from services.runtime.flow.letters.dead_letters import DeadLetterTable
from services.runtime.flow.letters.letter_room import LetterRoom
from services.runtime.flow.letters.letter_topic import LetterPublisher
from services.runtime.flow.letters.rereading import Originals
from services.runtime.flow.log_ends import LogWatch
from services.runtime.flow.operator.operator_requests import OperatorRequests
from services.runtime.flow.operator.parking import ParkedShardTable, ResumeRequests
from services.runtime.flow.operator.settlements import SettlementRequests
from services.runtime.flow.operator.stepping import Stepping
from services.runtime.flow.publishing.relay import Relay
from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.flow.work import Recorded
from services.runtime.kafka.client import Assignment, BatchConsumer, build_producer
from services.runtime.kafka.held_back import HeldBack
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.topics.own_topic import check_own_topic
from services.runtime.kafka.topics.topic_identity import KnownTopics
from services.runtime.log.event_log import LogEnd
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.log.taken_events import TakenEvents
from services.runtime.logs import Logger
from services.runtime.metrics.metrics import Metrics
from services.runtime.processor import Processor
from services.runtime.settings import RuntimeSettings
from services.runtime.stopping import Stopping
from services.runtime.verify.head_writer import head_writer_of
from services.runtime.watch.exposition import Exposition
from services.runtime.watch.health import HealthServer, Readiness
from services.runtime.watch.vital_signs import VitalSigns
from services.runtime.watch.watchdog import Watchdog


class Composition:
    """The parts of one service process, each made once, when it is first asked for.

    What needs no other part is made at once. The others follow from top to bottom: the log, what
    comes in, what is done, what goes out, what a person asks for, what is watched.
    """

    def __init__(  # noqa: PLR0913 - what is opened before it, by name
        self,
        *,
        settings: RuntimeSettings,
        processor: Processor,
        pool: asyncpg.Pool,
        clock: DatabaseClock,
        logger: Logger,
        stopping: Stopping,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """Wire `processor` to Kafka and Postgres; `clock` is that of the database of `pool`."""
        self.settings = settings
        self.service = processor
        self.pool = pool
        self.clock = clock
        self.logger = logger
        self.stopping = stopping
        self.tracing = tracing
        self.topics = [subscription.topic for subscription in processor.subscriptions]
        self.assignment = Assignment()
        self.known_topics = KnownTopics(pool, settings, self.topics)
        self.event_keys = EventKeys.of(settings.event_keys, processor.events.topics.values())
        self.metrics = Metrics.of(processor)
        self.dead_letters = DeadLetterTable(pool)
        self.originals = Originals(settings)
        self.held_back = HeldBack(time.monotonic)
        self.taken_events = TakenEvents(pool, retention(processor.events.topics.values()))
        self.clock_watch = ClockWatch(clock, pool)
        self.head_writer = head_writer_of(settings, processor.group, pool, clock.counted, logger)

    @cached_property
    def log(self) -> PostgresEventLog:
        """The event log, as the role of the service may use it."""
        lease_seconds = self.settings.effect_lease_seconds
        return PostgresEventLog(self.pool, lease_seconds=lease_seconds, clock=self.clock)

    @cached_property
    def journal(self) -> Journal:
        return Journal(
            self.processor,
            on_committed=self._committed,
            shard_of=partial(shard_of, shard_count=self.settings.shard_count),
        )

    def _committed(self, recorded: Recorded) -> None:
        """Count what a transaction committed, and publish it."""
        self.metrics.committed(recorded.facts)
        self.relay.add(recorded.events)
        self.effects.expect(recorded)

    @cached_property
    def processor(self) -> Processor:
        """The service, with effects that are counted and timed."""
        return replace(self.service, effects=self.metrics.measured(self.service.effects))

    @cached_property
    def consumer(self) -> BatchConsumer:
        return BatchConsumer(
            settings=self.settings,
            topics=self.topics,
            group=self.service.group,
            assignment=self.assignment,
        )

    @cached_property
    def batches(self) -> BatchHandler:
        return BatchHandler(
            log=self.log,
            intake=self.intake,
            guard=self.guard,
            effects=self.effects,
            known_topics=self.known_topics,
            assignment=self.assignment,
            consumer=self.consumer,
            metrics=self.metrics,
            stopping=self.stopping,
            logger=self.logger,
        )

    @cached_property
    def guard(self) -> ShardGuard:
        """Parks a shard rather than ending the process."""
        return ShardGuard(
            log=self.log,
            intake=self.intake,
            logger=self.logger,
            confirm_topics=self.known_topics.check,
        )

    @cached_property
    def intake(self) -> Intake:
        keys = self.event_keys
        return Intake(
            log=self.log,
            processor=self.processor,
            journal=self.journal,
            shard_count=self.settings.shard_count,
            clock=self.clock.now,
            letters=LetterRoom(self.letters.publish, self.service.events.topics),
            tracing=self.tracing,
            verifier=keys.verifier(self.service.group) if keys else None,
        )

    @cached_property
    def letters(self) -> LetterPublisher:
        """Publishes dead letters that find no room in their table."""
        return LetterPublisher(partial(build_producer, self.settings), self.service.group)

    @cached_property
    def effects(self) -> EffectRunner:
        """Runs effects and records their results."""
        virtual = self.settings.perennial_virtual_clock is not None
        return EffectRunner(
            log=self.log,
            processor=self.processor,
            journal=self.journal,
            concurrency=self.settings.effect_concurrency,
            lease_seconds=self.settings.effect_lease_seconds,
            look_up_first=self.settings.look_up_first,
            clock=self.clock.now,
            logger=self.logger,
            poll_seconds=VIRTUAL_POLL_SECONDS if virtual else POLL_SECONDS,
            tracing=self.tracing,
        )

    @cached_property
    def relay(self) -> Relay:
        keys = self.event_keys
        return Relay(
            log=self.log,
            events=self.service.events,
            dead_letters=self.dead_letters,
            source=self.service.source,
            topic=self.service.output_topic,
            group=self.service.group,
            shards=self.assignment.shards,
            producer_factory=partial(build_producer, self.settings),
            logger=self.logger,
            tracing=self.tracing,
            signer=keys.signer(self.service.group) if keys else None,
        )

    @cached_property
    def operator_requests(self) -> OperatorRequests:
        """Does what the command line wrote down."""
        return OperatorRequests(
            dead_letters=self.dead_letters,
            originals=self.originals,
            settlements=self.settlements,
            parking=self.parking,
            intake=self.intake,
            effects=self.effects,
            metrics=self.metrics,
        )

    @cached_property
    def settlements(self) -> SettlementRequests:
        """Records how a person settled an effect."""
        return SettlementRequests(
            pool=self.pool,
            log=self.log,
            processor=self.processor,
            journal=self.journal,
            clock=self.clock.now,
            logger=self.logger,
        )

    @cached_property
    def parking(self) -> ResumeRequests:
        stepping = Stepping(
            settings=self.settings, log=self.log, intake=self.intake, clock=self.clock.now
        )
        return ResumeRequests(
            table=ParkedShardTable(self.pool),
            dead_letters=self.dead_letters,
            originals=self.originals,
            log=self.log,
            intake=self.intake,
            step_over=stepping.step,
            logger=self.logger,
        )

    @cached_property
    def pauses(self) -> Pauses:
        """Keeps the partitions of parked shards still."""
        return Pauses(log=self.log, consumer=self.consumer, assignment=self.assignment)

    @cached_property
    def log_watch(self) -> LogWatch:
        """Sees that the log still holds what was committed."""
        return LogWatch(
            log=self.log,
            committed=self._committed_heads,
            logger=self.logger,
            compare_published=self._compare_published,
        )

    def _committed_heads(self) -> Mapping[int, LogEnd]:
        return self.journal.heads

    async def _compare_published(self) -> None:
        await check_own_topic(self.settings, self.pool, self.processor)

    @cached_property
    def signs(self) -> VitalSigns:
        """Looks at cursors, topics and the log."""
        return VitalSigns(
            settings=self.settings,
            topics=self.topics,
            log=self.log,
            consumer=self.consumer,
            assignment=self.assignment,
            busy=self.batches.is_busy,
            trouble=self.clock.trouble,
            pauses=self.pauses,
            held_back=self.held_back,
        )

    @cached_property
    def watchdog(self) -> Watchdog:
        """Ends a process that is stuck."""
        return Watchdog(
            self.signs.look,
            kafka_answers=self.signs.kafka_answers,
            records_wait=self.signs.records_wait,
            limit_seconds=self.settings.watchdog_seconds,
            monotonic=time.monotonic,
        )

    @cached_property
    def exposition(self) -> Exposition:
        return Exposition(
            metrics=self.metrics,
            processor=self.processor,
            settings=self.settings,
            pool=self.pool,
            relay=self.relay.counts,
            clock=self.clock.counts,
            consumer=self.consumer,
            assignment=self.assignment,
            held_back=self.held_back,
            heads=self.head_writer.kept if self.head_writer else None,
        )

    @cached_property
    def health(self) -> HealthServer:
        return HealthServer(
            service=self.service.group,
            host=self.settings.http_host,
            port=self.settings.http_port,
            alive=self._is_alive,
            readiness=self.readiness,
            metrics=self.exposition.text,
        )

    def _is_alive(self) -> bool:
        return self.stopping.failure is None

    async def readiness(self) -> Readiness:
        """Say whether this process does its work now."""
        if self.stopping.is_asked():
            return Readiness(["stopping"])
        return await self.signs.readiness()

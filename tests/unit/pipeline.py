"""Orders, ledger and notifier in one process over logs in memory: what one publishes, others read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from schemas import BILLING
from schemas.requests import Channel
from schemas.topics import TOPICS
from services.ledger.handlers import build_processor as build_ledger
from services.ledger.handlers import load_low_balance
from services.ledger.rules.rule_file import load_rules
from services.notifier.channels.email.effect import EMAIL
from services.notifier.handlers import build_processor as build_notifier
from services.notifier.notification.commands import (
    RecordDelivered,
    RecordInDigest,
    RecordNotDelivered,
    Template,
)
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import Refused, SentText
from services.notifier.notification.policy import Policy
from services.runtime.effect import EffectRun
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.work import Work, attempted
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.log.event_log import LeasedEffect, StoredEvent
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.processor import Effect, Mark, Processor, Settlement, Task
from tests.unit.orders.builders import NOW, POLICY
from tests.unit.orders.builders import RULES as RULES_OF_ORDERS
from tests.unit.orders.world import World
from tests.unit.runtime.toy import SHARDS, Record

OWN_GATEWAY: Final = "desk"
"""What customers pay there is ours to give back; any other gateway of theirs is the shop's."""
RULES: Final = replace(
    RULES_OF_ORDERS, policy=replace(POLICY, own_gateways=frozenset({OWN_GATEWAY}))
)
_ROUNDS_MAX: Final = 2_000
_TEXT: Final = SentText("en", "<any@mail.example>", "0" * 64)


async def _mark(checkpoint: str) -> None:
    del checkpoint


@dataclass(slots=True)
class Service:
    """One service: its log, its intake, and the effects that are to run."""

    processor: Processor
    log: MemoryEventLog
    clock: Callable[[], datetime]
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    leased: list[LeasedEffect] = field(default_factory=list)

    async def take(self, topic: str, records: Iterable[tuple[int, bytes, bytes, Any]]) -> None:
        """Consume (partition, key, value, headers) as they lie on a topic."""
        wanted = {each.topic for each in self.processor.subscriptions}
        for partition, key, value, headers in records if topic in wanted else ():
            offset = self.offsets.get((topic, partition), 0)
            self.offsets[topic, partition] = offset + 1
            record = Record(topic, partition, offset, key, value, list(headers))
            result = await self._intake().handle([record])
            self.leased += result.leased

    def _intake(self) -> Intake:
        return Intake(
            log=self.log,
            processor=self.processor,
            journal=Journal(self.processor),
            shard_count=SHARDS,
            clock=self.clock,
        )

    async def work(self) -> None:
        """Run every effect that is due, and what follows from it."""
        while True:
            self.leased += await self.log.lease_due_effects(now=self.clock(), limit=100)
            if not self.leased:
                return
            await self._run(self.leased.pop(0))

    async def _run(self, effect: LeasedEffect) -> None:
        command = await self.processor.effects[effect.run.kind].execute(effect.run, _mark)
        await self._record(effect, command, attempted(effect))

    async def until_leased(self, kind: str) -> None:
        """Run effects until one of a kind is next."""
        while True:
            self.leased += await self.log.lease_due_effects(now=self.clock(), limit=100)
            if any(effect.run.kind == kind for effect in self.leased) or not self.leased:
                return
            await self._run(self.leased.pop(0))

    async def settle(self, said: Settlement, effect: LeasedEffect, request_id: str) -> None:
        """Settle an effect as a person found it."""
        settle = self.processor.effects[effect.run.kind].settle
        assert settle is not None
        command = settle(said, effect.run, self.clock())
        await self._record(effect, command, f"request/{request_id}")

    async def _record(self, effect: LeasedEffect, command: object, cause: str) -> None:
        origin = effect.origin
        work = Work(
            task=Task(origin.stream_id, command),
            shard=origin.shard,
            account_id=origin.account_id,
            cause=cause,
            cause_event_id=origin.cause_event_id,
            correlation_id=origin.correlation_id,
            traceparent=None,
            effect=effect,
        )
        transaction = self.log.transaction(shards={origin.shard})
        async with Journal(self.processor).session(transaction) as session:
            await session.load([work])
            await session.apply(work, self.clock())
            self.leased += (await session.flush(self.clock())).leased

    async def published(self) -> list[StoredEvent]:
        """Return what was not on the topic yet, and mark it published."""
        found = await self.log.unpublished(self.processor.source, range(SHARDS), limit=10_000)
        await self.log.mark_published({shard: each.through for shard, each in found.items()})
        return [event for shard in sorted(found) for event in found[shard].events]


class Pipeline:
    """The three services and the topics between them."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, RULES)
        self.outcomes: list[StoredEvent] = []
        ledger = build_ledger(rules=load_rules(), low_balance=load_low_balance())
        notifier = build_notifier(Policy(), {EMAIL.kind: Effect(self._mail, EMAIL.settle)})
        self.orders = self._service(self.world.processor)
        self.services = (self.orders, self._service(ledger), self._service(notifier))
        self._mails = 0

    def _service(self, processor: Processor) -> Service:
        log = MemoryEventLog(
            shard_count=SHARDS, lease_seconds=60, wall_clock=lambda: self.world.now
        )
        return Service(replace(processor, project=None), log, lambda: self.world.now)

    async def begin(self) -> None:
        """Create the cursors."""
        for service in self.services:
            await service.log.ensure_cursors(
                {(topic.name, n): 0 for topic in TOPICS for n in range(SHARDS)}
            )

    async def send(self, topic: str, records: Iterable[tuple[int, bytes, bytes, Any]]) -> None:
        """Have every service that reads the topic consume what came from outside."""
        for service in self.services:
            await service.take(topic, records)

    async def until(self, later: timedelta) -> None:
        """Let time pass, in steps, with everything that is due on the way."""
        end = NOW + later
        for _ in range(_ROUNDS_MAX):
            await self._round()
            if self.world.now >= end:
                return
            self.world.now = min(end, self.world.now + timedelta(minutes=1))
        message = "there is no end to it"
        raise AssertionError(message)

    async def _round(self) -> None:
        quiet = False
        while not quiet:
            quiet = True
            for service in self.services:
                await service.work()
                events = await service.published()
                self.outcomes += events
                quiet = quiet and not events
                topic = service.processor.output_topic
                rows = [
                    (e.shard, e.account_id.encode(), e.body, binary_headers(e, BILLING))
                    for e in events
                ]
                for reader in self.services:
                    await reader.take(topic, rows)

    async def _mail(self, run: EffectRun, _mark: Mark) -> object:
        """Answer in turn as mail servers and mailboxes do."""
        fact, template, now = (
            Fact.from_payload(run.payload),
            Template(Channel.EMAIL, "any", "1"),
            self.world.now,
        )
        self._mails += 1
        match self._mails % 3:
            case 0:
                return RecordInDigest(fact, template, fact.key, now)
            case 1:
                return RecordNotDelivered(fact, template, Refused("recipient"), 1, now)
            case _:
                return RecordDelivered(fact, template, _TEXT, now)

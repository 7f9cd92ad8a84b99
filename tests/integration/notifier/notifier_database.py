"""The notifier on a real database, with a channel that does as it is told and no Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog

from schemas import EVENT_TYPES, TOPIC_OF
from schemas.envelope import Event
from schemas.requests import Channel
from services.cli.setup.setup import set_up_postgres
from services.notifier.channels.definition import ChannelPorts, Sender
from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.channels.email.effect import EmailSender
from services.notifier.channels.email.message import Letterhead
from services.notifier.channels.sms.channel import SmsChannel
from services.notifier.channels.sms.effect import SmsSender
from services.notifier.contacts.contacts import Contacts, contacts_projection
from services.notifier.effects import build_effects
from services.notifier.handlers import build_processor
from services.notifier.limits.turns import RecipientLimits, settle_held_back
from services.notifier.notification.outcomes import Delivered, DeliveryOutcome
from services.notifier.notification.policy import Limits, Policy
from services.notifier.sweeper import Sweeper
from services.runtime.app.start import open_pool
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.letters.dead_letters import RedrivenRecord
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.processor import Mark
from tests.controls import T0, settings_for

SHARDS: Final = 2
LEASE_SECONDS: Final = 1
EXAMPLES: Final = Path(__file__).parents[3] / "schemas" / "examples"
LETTERHEAD: Final = Letterhead("plans@shop.example.com", "Plans", None, "mail.example.com")


@dataclass
class Postbox:
    """A channel that keeps what it takes; with a `gate`, it waits there after the mark."""

    outcomes: list[DeliveryOutcome] = field(default_factory=list)
    mails: list[OutgoingEmail] = field(default_factory=list)
    gate: asyncio.Event | None = None
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        await mark("dot_sent")
        self.mails.append(mail)
        self.taken.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.outcomes.pop(0) if self.outcomes else Delivered()

    async def close(self) -> None:
        self.mails.clear()


@dataclass
class Notifier:
    """The notifier without Kafka: `take` is a consumed batch, `settle` lets the effects run."""

    pool: asyncpg.Pool
    postbox: Postbox
    now: datetime = T0
    sms: SmsChannel | None = None
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    sequences: dict[tuple[str, int], int] = field(default_factory=dict)
    contacts: Contacts = field(init=False)
    runner: EffectRunner = field(init=False)
    _running: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.contacts = Contacts(self.pool)
        self.log = PostgresEventLog(self.pool, lease_seconds=LEASE_SECONDS)
        self.start()

    def start(self) -> None:
        """Start as a new process would, on the same database."""
        policy = Policy(
            contact_deadline=timedelta(hours=2),
            send_deadline=timedelta(hours=1),
            retry_first=timedelta(seconds=10),
        )
        senders: dict[Channel, Sender] = {Channel.EMAIL: EmailSender(self.postbox, LETTERHEAD)}
        if self.sms is not None:
            senders[Channel.SMS] = SmsSender(self.sms, "Shop", 3)
        policy = replace(policy, channels=tuple(senders))
        ports = {
            name: ChannelPorts(
                self.contacts,
                RecipientLimits(self.pool, clock=lambda: self.now),
                sender,
                Limits(),
                frozenset(senders),
                lambda: self.now,
                structlog.get_logger(),
            )
            for name, sender in senders.items()
        }
        projections = (contacts_projection(lambda: self.now), settle_held_back)
        processor = build_processor(policy, build_effects(ports), projections)
        journal = Journal(processor)
        self.intake = Intake(
            log=self.log,
            processor=processor,
            journal=journal,
            shard_count=SHARDS,
            clock=lambda: self.now,
        )
        self.runner = EffectRunner(
            log=self.log,
            processor=processor,
            journal=journal,
            concurrency=10,
            lease_seconds=LEASE_SECONDS,
            clock=lambda: self.now,
            logger=structlog.get_logger(),
        )
        self._running = asyncio.create_task(self.runner.run())

    async def sweep(self) -> None:
        """Forget what has expired, as the service does every minute."""
        clock, logger = lambda: self.now, structlog.get_logger()
        await Sweeper(self.pool, clock=clock, logger=logger).sweep()

    async def stop(self) -> None:
        """Stop at once, as a killed process does: what is under way is not recorded."""
        await self.runner.stop(0)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def take(self, *records: RedrivenRecord) -> dict[str, int]:
        """Consume one batch and hand out what it started; return the outcomes."""
        partitions = {(record.topic, record.partition): 0 for record in records}
        await self.log.ensure_cursors(partitions)
        result = await self.intake.handle(records)
        self.runner.submit(result.leased)
        return dict(result.outcomes)

    async def settle(self, *, until: int) -> list[Event]:
        """Wait until this many events are recorded, and return them."""
        for _ in range(1_500):
            events = await self.events()
            if len(events) >= until:
                return events
            await asyncio.sleep(0.02)
        message = f"only {len(await self.events())} of {until} events were recorded"
        raise AssertionError(message)

    async def events(self) -> list[Event]:
        """Return the log as parsed events."""
        rows = await self.pool.fetch("SELECT type, body FROM event ORDER BY shard, position")
        return [EVENT_TYPES[row["type"]].parse(row["body"]) for row in rows]

    async def held(self) -> list[str]:
        """Return the hold keys of waiting emails."""
        rows = await self.pool.fetch("SELECT hold_key FROM effect WHERE hold_key IS NOT NULL")
        return [row["hold_key"] for row in rows]

    async def wait_until_waiting(self, *, held: bool = False) -> None:
        """Wait until an email is put off, or held for its contact."""
        condition = "hold_key IS NOT NULL" if held else "lease_until IS NULL"
        for _ in range(1_500):
            if await self.pool.fetchval(f"SELECT count(*) FROM effect WHERE {condition}"):
                return
            await asyncio.sleep(0.02)
        message = f"no email came to wait ({condition})"
        raise AssertionError(message)

    def record(
        self, name: str, *, attributes: dict[str, str] | None = None, **changes: Any
    ) -> RedrivenRecord:
        """Return the example of an event as the next record of its partition; None leaves out."""
        example = json.loads((EXAMPLES / name / "v1.json").read_text(encoding="utf-8"))
        example |= attributes or {}
        changed = example.pop("data") | changes
        data = {key: value for key, value in changed.items() if value is not None}
        account = data["account_id"]
        partition = shard_of(account, SHARDS)
        topic = TOPIC_OF[example["type"]].name
        attributes = example | {"partitionkey": account}
        if attributes["source"].startswith("/billing/"):
            sequence = self.sequences.get((topic, partition), 0) + 1
            self.sequences[topic, partition] = sequence
            attributes["sequence"] = f"{sequence:020d}"
        offset = self.offsets.get((topic, partition), 0)
        self.offsets[topic, partition] = offset + 1
        headers = [
            (f"ce_{key}", str(value).encode())
            for key, value in attributes.items()
            if key != "datacontenttype"
        ]
        return RedrivenRecord(
            topic,
            partition,
            offset,
            account.encode(),
            json.dumps(data).encode(),
            [*headers, ("content-type", b"application/json")],
        )

    def contact_changed(
        self, email: str, *, at: datetime | None = None, **more: Any
    ) -> RedrivenRecord:
        """Return a CustomerContactChanged for the account of the examples."""
        contact = {"email": email, "locale": "en", "time_zone": "UTC"} | more
        changed_at = (at or self.now).isoformat()
        return self.record("CustomerContactChanged", contact=contact, changed_at=changed_at)


@asynccontextmanager
async def notifier_on(admin_dsn: str, sms: SmsChannel | None = None) -> AsyncIterator[Notifier]:
    """Prepare the notifier's schema, run it under its own role, and stop it."""
    await set_up_postgres(admin_dsn, "notifier", "secret", SHARDS)
    pool = await open_pool("notifier", settings_for(admin_dsn, role="perennial_notifier:secret"))
    notifier = Notifier(pool, Postbox(), sms=sms)
    try:
        yield notifier
    finally:
        await notifier.stop()
        await pool.close()


def recipients(mails: Sequence[OutgoingEmail]) -> list[str]:
    """Return who the messages went to."""
    return [mail.recipient for mail in mails]

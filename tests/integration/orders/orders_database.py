"""Orders on a real database, with the sandbox gateway and provider and no Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import asyncpg
import structlog

from schemas import EVENT_TYPES, TOPIC_OF
from schemas.envelope import Event
from services.cli.archive.archivals import ARCHIVED
from services.cli.books.verification import log_of
from services.cli.connections import connect
from services.cli.setup.setup import set_up_postgres
from services.orders.effects import Outside, build_effects
from services.orders.handlers import build_processor
from services.orders.payments.claims.claim_check import check_claims
from services.orders.payments.claims.transactions import PostgresClaims, claim_captured
from services.orders.ports import SandboxPorts, sandbox_ports
from services.runtime.app.start import open_pool
from services.runtime.archive.events import ArchiveOutcome, archive_events
from services.runtime.archive.ranges import open_archive
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.letters.dead_letters import RedrivenRecord
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.key_ring import KeyRing
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.verify.checks import Check
from services.runtime.verify.logs import verify_logs
from tests.controls import dsn_for, settings_for
from tests.unit.orders.builders import NOW, RULES, renewal

SHARDS: Final = 2
ROLE: Final = "perennial_orders:secret"
KEYS: Final = KeyRing({"first": b"k" * 32})
LATER: Final = NOW + timedelta(days=400)
"""When nothing of the test is young any more."""
_NAMESPACE: Final = UUID("00000000-0000-4000-8000-0000000000cc")


@dataclass
class Orders:
    """Orders without Kafka: `take` is a consumed batch, `settle` lets the effects run."""

    admin_dsn: str
    pool: asyncpg.Pool
    ports: SandboxPorts
    now: datetime = NOW
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = PostgresEventLog(self.pool)
        self.start()

    def start(self) -> None:
        """Start as a new process would, on the same database."""
        effects = build_effects(
            Outside(
                self.ports.gateway,
                self.ports.provider,
                lambda: self.now,
                claims=PostgresClaims(self.pool),
                trusted_gateways=frozenset(),
            )
        )
        processor = build_processor(RULES, effects, claim_captured)
        self.journal: Journal = Journal(processor)
        self.intake = Intake(
            log=self.log,
            processor=processor,
            journal=self.journal,
            shard_count=SHARDS,
            clock=lambda: self.now,
        )
        self.runner = EffectRunner(
            log=self.log,
            processor=processor,
            journal=self.journal,
            concurrency=10,
            lease_seconds=60,
            clock=lambda: self.now,
            logger=structlog.get_logger(),
        )
        self._running = asyncio.create_task(self.runner.run())

    async def stop(self) -> None:
        """Stop at once."""
        await self.runner.stop(0)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def again(self) -> None:
        """End the process, and start another one that remembers nothing."""
        await self.stop()
        self.start()

    async def take(self, *events: Event, name: str = "") -> dict[str, int]:
        """Consume one batch and hand out what it started; return the outcomes."""
        records = [self.record(event, name) for event in events]
        await self.log.ensure_cursors({(each.topic, each.partition): 0 for each in records})
        result = await self.intake.handle(records)
        self.runner.submit(result.leased)
        return dict(result.outcomes)

    def record(self, event: Event, name: str = "") -> RedrivenRecord:
        """Return an event as the next record of its partition; `name` makes it another message."""
        of = TOPIC_OF[event.wire_type()]
        topic, partition = of.name, shard_of(event.account_id, SHARDS)
        offset = self.offsets.get((topic, partition), 0)
        self.offsets[topic, partition] = offset + 1
        body = event.body()
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid5(_NAMESPACE, f"{event.wire_type()}/{name}/{body!r}")),
            "ce_source": f"{of.source_prefix}app",
            "ce_type": event.wire_type(),
            "ce_time": "2026-11-20T08:00:00Z",
            "content-type": "application/json",
        }
        encoded = [(key, value.encode()) for key, value in headers.items()]
        return RedrivenRecord(topic, partition, offset, event.account_id.encode(), body, encoded)

    async def buy(self, *names: str, **changes: Any) -> None:
        """Have renewals accepted, paid and activated, one after the other."""
        for name in names:
            await self.take(renewal(renewal_id=name, **changes))
            await self.settle()

    async def settle(self) -> None:
        """Wait until no effect is due."""
        due = "SELECT count(*) FROM effect WHERE due_at <= $1"
        for _ in range(1_500):
            if not await self.pool.fetchval(due, self.now):
                return
            await asyncio.sleep(0.02)
        message = "effects are still due"
        raise AssertionError(message)

    async def publish(self) -> None:
        """Have all be published, as the relay would."""
        await self.log.mark_published(await self.log.ends())

    async def events(self) -> list[Event]:
        """Return what the database still holds of the log."""
        rows = await self.pool.fetch("SELECT type, body FROM event ORDER BY shard, position")
        return [EVENT_TYPES[row["type"]].parse(row["body"]) for row in rows]

    async def archive(self, folder: Path, *, before: datetime = LATER) -> ArchiveOutcome:
        """Archive what is over and recorded before a moment, as the owner of the tables."""
        await self.publish()
        return await archive_as_owner(self.admin_dsn, folder, before)

    async def execute(self, *statements: str) -> None:
        """Change rows as the administrator, with every trigger off."""
        owner = await owner_of(self.admin_dsn)
        try:
            await owner.execute("SET session_replication_role = replica")
            for statement in statements:
                status = await owner.execute(statement)
                assert not status.endswith(" 0"), f"changed nothing: {statement}"
        finally:
            await owner.close()


async def owner_of(admin_dsn: str) -> Any:
    """Return a connection of the owner of the tables."""
    return await asyncpg.connect(admin_dsn, server_settings={"search_path": "orders"})


async def archive_as_owner(admin_dsn: str, folder: Path, before: datetime) -> ArchiveOutcome:
    """Archive as `perennial archive events` does, long after."""
    owner = await owner_of(admin_dsn)
    try:
        return await archive_events(
            owner,
            "orders",
            ARCHIVED["orders"],
            before=before,
            folder=folder,
            now=LATER + timedelta(days=400),
            retention=timedelta(days=30),
            keys=KEYS,
        )
    finally:
        await owner.close()


@asynccontextmanager
async def orders_on(admin_dsn: str, folder: Path) -> AsyncIterator[Orders]:
    """Prepare the schema of orders, run them under their own role, and stop them."""
    await set_up_postgres(admin_dsn, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(admin_dsn, role=ROLE))
    ports_folder = folder / "sandbox"
    with sandbox_ports(ports_folder, lambda: NOW, timeout_seconds=0, slow_seconds=0) as ports:
        orders = Orders(admin_dsn, pool, ports)
        try:
            yield orders
        finally:
            await orders.stop()
            await pool.close()


async def verified(orders: Orders, folder: Path | None = None) -> dict[str, Check]:
    """Return every check of the log of orders, with the files of `folder` if there is one."""
    async with connect("orders", dsn_for(orders.admin_dsn, ROLE)) as connection:
        log = log_of("orders", connection)
        log.archive = await open_archive(connection, folder, KEYS)
        checks = (await verify_logs([log]))["orders"]
        return {each.name: each for each in [*checks, await check_claims(connection, log.archive)]}


def failed(checks: dict[str, Check]) -> dict[str, str]:
    """Return what differs."""
    return {name: each.problem for name, each in checks.items() if each.problem is not None}


def unread(checks: dict[str, Check]) -> dict[str, str]:
    """Return what was not compared."""
    return {name: each.unread for name, each in checks.items() if each.unread}

"""The toy service on a real database, with the part of its process that redrives dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
import structlog

from schemas.topics import LEDGER, REQUESTS
from services.cli.setup.setup import set_up_postgres
from services.runtime.app.composition import Composition
from services.runtime.app.start import open_pool
from services.runtime.clock.database_clock import ClockWatch, DatabaseClock
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.letters.dead_letters import DeadLetterTable
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.settings import RuntimeSettings
from services.runtime.stopping import Stopping
from tests.controls import T0, settings_for
from tests.unit.runtime.toy import SHARDS, Record, Toy, request

ROLE = "perennial_orders:secret"


@dataclass(slots=True)
class ToyDatabase:
    """The toy as the service `orders`. Amount 14 cannot be handled until `toy` can."""

    settings: RuntimeSettings
    pool: asyncpg.Pool
    log: PostgresEventLog
    toy: Toy
    intake: Intake

    @property
    def letters(self) -> DeadLetterTable:
        return DeadLetterTable(self.pool)

    async def dead_letter(self, *records: Record) -> None:
        """Have the intake refuse records."""
        result = await self.intake.handle(records)
        assert all(outcome.startswith("dead_lettered:") for outcome in result.outcomes)

    async def count(self, stream_id: str) -> int:
        """Return how many events a stream holds."""
        async with self.log.transaction() as tx:
            return len((await tx.load_streams([stream_id])).get(stream_id, ()))

    @asynccontextmanager
    async def redriving(self) -> AsyncIterator[None]:
        """Run what handles dead letters again in a running service."""
        logger = structlog.wrap_logger(structlog.testing.CapturingLogger())
        clock = DatabaseClock(logger)
        await ClockWatch(clock, self.pool).look()
        parts = Composition(
            settings=self.settings,
            processor=self.toy.processor(),
            pool=self.pool,
            clock=clock,
            logger=logger,
            stopping=Stopping(),
        )
        task = asyncio.create_task(parts.operator_requests.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def open_toy_database(admin_dsn: str, toy: Toy) -> AsyncIterator[ToyDatabase]:
    """Set up an empty log of orders and give it to the toy."""
    await set_up_postgres(admin_dsn, "orders", "secret", SHARDS)
    settings = settings_for(admin_dsn, role=ROLE).model_copy(update={"shard_count": SHARDS})
    pool = await open_pool("orders", settings)
    log = PostgresEventLog(pool)
    topics = (REQUESTS.name, LEDGER.name)
    await log.ensure_cursors({(topic, n): 0 for topic in topics for n in range(SHARDS)})
    processor = toy.processor()
    intake = Intake(
        log=log,
        processor=processor,
        journal=Journal(processor),
        shard_count=SHARDS,
        clock=lambda: T0,
    )
    try:
        yield ToyDatabase(settings, pool, log, toy, intake)
    finally:
        await pool.close()


def hostile(offset: int = 0) -> Record:
    """Return a record of bytes that no text column takes, and with personal data in it."""
    record = request(offset)
    record.key = b"\xff\x00"
    record.value = b'{"email": "lin@example.org"} \xff'
    record.headers = [("ce_id", None), ("ce_id", b"\xff\x00"), ("name\0of\x01header", b"")]
    return record

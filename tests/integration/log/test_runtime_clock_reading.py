"""The clock of a real database is read by the watch, and with every lock on shards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.clock.database_clock import ClockWatch, DatabaseClock, TimeDisputed
from services.runtime.errors import Transient
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import settings_for
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, request


class Shifted:
    """A process that runs `behind` by so many seconds: to it, the database is as much ahead."""

    def __init__(self) -> None:
        """Begin with clocks that agree."""
        self.behind = 0.0
        self.clock = DatabaseClock(
            structlog.get_logger(),
            running=lambda: time.monotonic() - self.behind,
            wall=lambda: time.time() - self.behind,
        )


@pytest.fixture
async def opened(fresh_database: str) -> AsyncIterator[tuple[Shifted, Intake]]:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    process, processor = Shifted(), Toy().processor()
    log = PostgresEventLog(pool, clock=process.clock)
    try:
        await ClockWatch(process.clock, pool).look()
        await log.ensure_cursors({(request(0).topic, shard): 0 for shard in range(SHARDS)})
        yield (
            process,
            Intake(
                log=log,
                processor=processor,
                journal=Journal(processor),
                shard_count=SHARDS,
                clock=process.clock.now,
            ),
        )
        async with log.transaction() as tx:
            recorded = await tx.connection.fetch("SELECT shard, recorded_at FROM event")
        assert [row["shard"] for row in recorded] == [SHARD]
        assert abs(recorded[0]["recorded_at"] - datetime.now(UTC)) < timedelta(minutes=1)
    finally:
        await pool.close()


async def test_jump_is_noticed_under_the_lock_before_anything_is_decided(
    opened: tuple[Shifted, Intake],
) -> None:
    process, intake = opened
    assert (await intake.handle([request(0)])).events == 1
    for jump in (3_600.0, -3_600.0):
        process.behind = jump
        assert process.clock.trouble() is None
        with pytest.raises(Transient, match=r"Postgres (has jumped by -3600 s|is 3600 s ahead)"):
            await intake.handle([request(1, topup_id="t-2")])
        with pytest.raises(TimeDisputed):
            process.clock.now()
        process.behind = 0.0
        with pytest.raises(TimeDisputed):  # until it is read again
            await intake.handle([request(1, topup_id="t-2")])
        process.clock.read(datetime.now(UTC), process.clock.running())

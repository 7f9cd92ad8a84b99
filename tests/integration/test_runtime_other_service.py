"""A service that has nothing of billing, on a schema of its own: its own migrations name its source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.runtime.app.start import open_pool
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.log.migrator import RUNTIME_MIGRATIONS, migrate
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import T0, settings_for
from tests.unit.runtime.kiosk import COINS, SHARD, SHARDS, SOURCE, coin, processor

OWN_SOURCE = """
-- migrate:up
CREATE FUNCTION own_source() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '/kiosk/machine' $$;
-- migrate:down
DROP FUNCTION own_source();
"""


@pytest.fixture
async def pool(fresh_database: str, tmp_path: Path) -> AsyncIterator[asyncpg.Pool]:
    """Return the connections of the machine, whose tables are the runtime's and one function."""
    (tmp_path / "20261101000001_own_source.sql").write_text(OWN_SOURCE)
    owner = await asyncpg.connect(fresh_database)
    try:
        await owner.execute("CREATE ROLE perennial_machine LOGIN PASSWORD 'secret'")
        await owner.execute("CREATE SCHEMA machine; SET search_path = machine")
        await owner.execute("GRANT USAGE ON SCHEMA machine TO perennial_machine")
        await migrate(owner, [RUNTIME_MIGRATIONS, tmp_path])
        await owner.execute(f"INSERT INTO shard (shard) SELECT generate_series(0, {SHARDS - 1})")
    finally:
        await owner.close()
    settings = settings_for(fresh_database, role="perennial_machine:secret")
    opened = await open_pool("machine", settings)
    yield opened
    await opened.close()


async def test_heads_number_the_events_of_the_source_that_the_service_names(
    pool: asyncpg.Pool,
) -> None:
    log, service = PostgresEventLog(pool), processor({})
    await log.ensure_cursors({(COINS.name, n): 0 for n in range(SHARDS)})
    journal = Journal(service)
    intake = Intake(
        log=log, processor=service, journal=journal, shard_count=SHARDS, clock=lambda: T0
    )
    for offset in range(2):
        await intake.handle([coin(offset)])
    rows = await pool.fetch(
        "SELECT head_position, head_sequence FROM shard WHERE shard = $1", SHARD
    )
    assert [tuple(row) for row in rows] == [(2, 2)]
    news = await log.unpublished(SOURCE, range(SHARDS), limit=10)
    assert [each.sequence for each in news[SHARD].events] == [1, 2]

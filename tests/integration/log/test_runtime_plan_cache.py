"""What a process asks again and again was prepared for empty tables, and reads little of full ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from uuid import uuid4

import asyncpg
import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.log.event_log import LogEnd
from services.runtime.log.postgres_log import PostgresEventLog
from tests.contract.test_event_log import SHARDS, SOURCE, append
from tests.controls import T0, settings_for
from tests.integration.log.test_runtime_plans import KEYS, WAITING, fill

TABLES: Final = ("effect", "event", "archived_stream", "taken_event", "cursor", "source_sequence")
ENOUGH: Final = 7
"""Five times Postgres plans for what is asked; then it may keep a plan for good."""
BLOCKS_MAX: Final = 60
RUNS: Final = [(1, f"activate/{number}", 0) for number in (7, 700, 4_900)]
READ: Final = """
SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)
FROM pg_statio_user_tables WHERE schemaname = current_schema()
"""


async def load(log: PostgresEventLog) -> object:
    async with log.transaction() as tx:
        return await tx.load_streams(KEYS)


async def load_taken(log: PostgresEventLog) -> object:
    async with log.transaction() as tx:
        await tx.load_taken([("/shop/7", 1, 7), ("/shop/7", 1, 4_900)])
    return None


async def append_one(log: PostgresEventLog) -> object:
    await append(log, (f"order/{uuid4()}", 1), shard=2)
    return None


ASKED: Final[dict[str, Callable[[PostgresEventLog], Awaitable[object]]]] = {
    "what is due": lambda log: log.lease_due_effects(now=T0, limit=10),
    "marks": lambda log: log.mark_effects(dict.fromkeys(RUNS, "dot_sent")),
    "leases": lambda log: log.extend_leases(RUNS),
    "set aside": lambda log: log.set_effect_aside(RUNS[0], due_at=T0, trouble="boom"),
    "unpublished": lambda log: log.unpublished(
        SOURCE, range(SHARDS), limit=9, acknowledged={1: LogEnd(WAITING - 3, b"")}
    ),
    "hashes": lambda log: log.hashes_at({1: 4_900, 2: 3}),
    "streams": load,
    "taken": load_taken,
    "append": append_one,
}


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    """Return the connections of orders to tables that are known to be empty."""
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    for table in TABLES:
        await owner.execute(f"VACUUM ANALYZE {table}")
    await owner.close()
    opened = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    yield opened
    await opened.close()


async def blocks_read(pool: asyncpg.Pool) -> int:
    """Return how many blocks of our tables were read since the beginning."""
    await pool.fetchval("SELECT pg_stat_force_next_flush()")
    return int(await pool.fetchval(READ))


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
async def test_what_was_prepared_for_empty_tables_reads_a_few_blocks_of_full_ones(
    fresh_database: str,
    pool: asyncpg.Pool,
    asked: Callable[[PostgresEventLog], Awaitable[object]],
) -> None:
    log = PostgresEventLog(pool)
    for _ in range(ENOUGH):
        await asked(log)
    await fill(fresh_database)
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE shard SET head_position = $1 WHERE shard = 1", WAITING)
    await owner.execute("UPDATE taken_event SET event_ids = uuid_send(gen_random_uuid())")
    await owner.close()

    before = await blocks_read(pool)
    await asked(log)

    assert await blocks_read(pool) - before < BLOCKS_MAX

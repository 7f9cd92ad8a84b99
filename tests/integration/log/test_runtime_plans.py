"""What the runtime asks for each batch reads what it needs, however much waits in the tables.

The tables have no statistics, as after a start or a burst: then a planner easily prefers to read all.
"""

from __future__ import annotations

import json
from uuid import UUID

import asyncpg
import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.effect import Release
from services.runtime.log.event_log import LastSequence
from services.runtime.log.postgres_rows import LOAD_STREAMS
from services.runtime.log.postgres_turns import LOCK_TURN, RECORD_TURN, StagedTurn
from tests.controls import T0

WAITING = 5_000
KEYS = [f"order/{number}" for number in (7, 700, 4_900)]
BLOCKS_MAX = 40
TURN_BLOCKS_MAX = 150
FILL = """
INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,
    payload, hold_key)
SELECT 1, 'activate/' || n, 'activate', 'acct-1', 'order/' || n, gen_random_uuid(), 'r-' || n, '{}',
    'order/' || n
FROM generate_series(1, $1) AS n
"""
FILL_EVENTS = """
INSERT INTO event (shard, position, stream_id, stream_version, event_id, source, type, sequence,
    account_id, correlation_id, occurred_at, recorded_at, body, hash)
SELECT 1, n, 'order/' || n, 1, gen_random_uuid(), '/billing/orders', 'billing.OrderExpired.v1', n,
    'acct-1', 'r-' || n, now(), now(), '{}', ''
FROM generate_series(1, $1) AS n
"""

FILL_ARCHIVED = """
INSERT INTO archived_stream (stream_id, shard, stream_version, first_position, last_position,
    account_id, recorded_at, remains)
SELECT 'order/gone-' || n, 1, 1, n, n, 'acct-1', now(), '{}' FROM generate_series(1, $1) AS n
"""
FILL_MARKS = """
WITH cursors AS (INSERT INTO cursor (topic, partition, next_offset)
    SELECT 'requests', n, 0 FROM generate_series(1, $1) AS n),
taken AS (INSERT INTO taken_event (source, shard, last_sequence, first_sequence, event_ids)
    SELECT '/shop/7', 1, n, n, '' FROM generate_series(1, $1) AS n)
INSERT INTO source_sequence (source, shard, last_sequence, last_event_id)
    SELECT '/shop/' || n, 1, 1, gen_random_uuid() FROM generate_series(1, $1) AS n
"""
GONE = [f"order/gone-{number}" for number in (7, 700, 4_900)]


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (LOAD_STREAMS, (KEYS,)),
        (LOAD_STREAMS, (GONE,)),
    ],
)
async def test_statement_reads_a_few_blocks_of_many(
    fresh_database: str, query: str, arguments: tuple[object, ...]
) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", 4)
    connection = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    try:
        await fill(fresh_database)
        assert await blocks_read(connection, query, arguments) < BLOCKS_MAX
    finally:
        await connection.close()


def turn() -> StagedTurn:
    """Return a turn of everything that looks for rows."""
    staged = StagedTurn(offsets={("requests", 7): 1}, dropped=[(1, key) for key in KEYS[2:]])
    staged.ended = [(1, f"activate/{number}") for number in (8, 800, 4_800)]
    for number in (9, 900, 4_700):
        staged.run_again((1, f"activate/{number}"), T0, None, None)
    staged.free([(1, Release(key)) for key in KEYS[:2]], T0)
    last = LastSequence(5_001, UUID(int=1))
    staged.taken = {(f"/shop/{number}", 1): [last] for number in (7, 700)}
    return staged


LOCKED = (
    ["requests"] * 3,
    [7, 700, 4_900],
    [1, 3],
    ["/shop/7", "/shop/700"],
    [1, 1],
    [1, 1],
    ["activate/7", "activate/700"],
    [0, 0],
)


@pytest.mark.parametrize(
    ("query", "arguments"),
    [(LOCK_TURN, LOCKED), (RECORD_TURN, tuple(turn().arguments(60)))],
    ids=["lock_turn", "record_turn"],
)
async def test_turn_that_was_planned_for_empty_tables_reads_a_few_blocks_of_full_ones(
    fresh_database: str, query: str, arguments: tuple[object, ...]
) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", 4)
    connection = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        for table in ("effect", "cursor", "source_sequence", "taken_event"):
            await connection.execute(f"VACUUM ANALYZE {table}")  # known to be empty
        async with connection.transaction():
            await connection.fetch(query, *arguments)
            await connection.execute("DELETE FROM taken_event; DELETE FROM source_sequence")
        await fill(fresh_database)
        async with connection.transaction():
            read = await blocks_read(connection, query, arguments)
        assert read < TURN_BLOCKS_MAX
    finally:
        await connection.close()


async def fill(dsn: str) -> None:
    """Have `WAITING` rows in each table, and no statistics."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "orders"})
    try:
        await connection.execute(FILL, WAITING)
        await connection.execute(FILL_MARKS, WAITING)
        # No chain, so nothing moves the head. Setting this discards plans, too.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(FILL_EVENTS, WAITING)
        await connection.execute(FILL_ARCHIVED, WAITING)
    finally:
        await connection.close()


async def blocks_read(
    connection: asyncpg.Connection, query: str, arguments: tuple[object, ...]
) -> int:
    """Return how many blocks a statement reads, those in the cache included."""
    asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
    [explained] = json.loads(await connection.fetchval(asked, *arguments))
    plan = explained["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

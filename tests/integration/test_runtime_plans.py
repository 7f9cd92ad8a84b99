"""What the runtime asks for each batch reads what it needs, however much waits in the tables.

The tables have no statistics, as after a start or a burst: then a planner easily prefers to read all.
"""

from __future__ import annotations

import json

import asyncpg
import pytest

from services.cli.setup import set_up_postgres
from services.runtime.log.postgres_rows import LOAD_STREAMS, RELEASE_HELD
from tests.controls import T0

WAITING = 5_000
KEYS = [f"order/{number}" for number in (7, 700, 4_900)]
BLOCKS_MAX = 40
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
GONE = [f"order/gone-{number}" for number in (7, 700, 4_900)]


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (RELEASE_HELD, ([1] * len(KEYS), KEYS, T0, 60)),
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
        await connection.execute(FILL, WAITING)
        # No chain, so nothing moves the head.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(FILL_EVENTS, WAITING)
        await connection.execute(FILL_ARCHIVED, WAITING)
        asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
        [explained] = json.loads(await connection.fetchval(asked, *arguments))
    finally:
        await connection.close()
    plan = explained["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < BLOCKS_MAX, explained

"""The event log alone: appending with chain and head row, on empty and on full tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import asyncpg

from deploy.bench.parts.events import stored_events
from deploy.bench.results.figures import Figure
from deploy.bench.results.plan import BenchPlan
from deploy.bench.rig import Rig
from deploy.bench.system.load import Load
from schemas.registry import SHARD_COUNT_DEFAULT
from services.runtime.log.event_log import ShardHead, StoredEvent, chain_hash
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.log.postgres_rows import EVENT_COLUMNS

NAMES: Final = ("append", "scaling_append")
BATCH: Final = 500
_REPEATS: Final = 3
"""The fastest counts: noise only ever adds."""
_SHARDS: Final = range(SHARD_COUNT_DEFAULT)
_FILL: Final = """
SET session_replication_role = replica;
INSERT INTO orders.event (shard, position, stream_id, stream_version, event_id, source, type,
    sequence, account_id, correlation_id, causation_id, occurred_at, recorded_at, body, hash)
SELECT i %% {shards}, i / {shards} + 1, 'order/fill-' || i / 3 * 7919 %% 1000003 || '-' || i / 3,
    i %% 3 + 1, gen_random_uuid(), '/billing/orders', 'billing.PlanActivated.v1', i / {shards} + 1,
    'acct-' || i / 3 %% 10000, 'fill-' || i / 3, gen_random_uuid(), now(), now(),
    convert_to(repeat('x', 200), 'UTF8'), sha256(i::text::bytea)
FROM generate_series({first}::bigint, {last}::bigint - 1) AS i;
UPDATE orders.shard SET head_position = found.n, head_sequence = found.n, published_position = found.n
FROM (SELECT shard, max(position) AS n FROM orders.event GROUP BY shard) AS found
WHERE found.shard = shard.shard;
"""


def append(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return the rate of appending beside COPY of the same rows, and how it grows with the log."""
    rig.fresh()
    loads = [Load(f"append-{turn}") for turn in range(_REPEATS)]
    count = plan.append_events // _REPEATS
    events = max(asyncio.run(_append(rig, load, count)) for load in loads)
    heads = {shard: ShardHead() for shard in _SHARDS}
    copied = max(asyncio.run(_copy(rig, load, count, heads)) for load in loads)
    figure = Figure(
        "append",
        events,
        "events/s",
        "COPY of the same rows",
        copied,
        "0.6",
        f"batches of {BATCH}; fastest of {_REPEATS}",
    )
    return [figure, *_scaling(rig, plan)]


def _scaling(rig: Rig, plan: BenchPlan) -> list[Figure]:
    rig.fresh()
    costs: list[float] = []
    filled = 0
    for size in plan.scaling_events:
        rig.execute(
            _FILL.format(first=filled, last=size, shards=SHARD_COUNT_DEFAULT).replace("%%", "%")
        )
        rig.settle()
        loads = [Load(f"s{size}-{turn}") for turn in range(_REPEATS)]
        rates = [asyncio.run(_append(rig, load, plan.scaling_append)) for load in loads]
        costs.append(1e6 / max(rates))
        rig.execute(_FORGET)
        filled = size
        rig.say(f"append at {size:,} events: {costs[-1]:.1f} µs/event")
    small, large = plan.scaling_events[0], plan.scaling_events[-1]
    return [
        Figure("scaling_append", costs[-1], "µs/event", f"at {small:,} events", costs[0],
               "at most 1.2", f"at {large:,} events")
    ]  # fmt: skip


_FORGET: Final = """
SET session_replication_role = replica;
DELETE FROM orders.event WHERE stream_id NOT LIKE 'order/fill-%';
"""


async def _append(rig: Rig, load: Load, count: int) -> float:
    """Append `count` events as the runtime does and return events/s; making them is not counted."""
    pool = await asyncpg.create_pool(
        rig.dsn("orders"), min_size=1, max_size=1, server_settings={"search_path": "orders"}
    )
    log = PostgresEventLog(pool)
    try:
        async with log.transaction(shards=_SHARDS) as tx:
            heads = {shard: replace(head) for shard, head in tx.heads.items()}
        batches = _batches(load, count, heads)
        started = time.perf_counter()
        for batch in batches:
            async with log.transaction(shards=_SHARDS) as tx:
                chained = []
                for event in batch:
                    head = tx.heads[event.shard]
                    stored = event._replace(hash=chain_hash(head.hash, event))
                    head.position, head.hash = stored.position, stored.hash
                    head.sequence = stored.sequence
                    chained.append(stored)
                await tx.append(chained)
        return count / (time.perf_counter() - started)
    finally:
        await pool.close()


async def _copy(rig: Rig, load: Load, count: int, heads: dict[int, ShardHead]) -> float:
    """COPY the same rows, a transaction for each batch, into a table with the same indexes."""
    batches = _batches(load, count, heads)
    connection = await asyncpg.connect(rig.stack.admin_dsn)
    try:
        started = time.perf_counter()
        for rows in batches:
            async with connection.transaction():
                await connection.copy_records_to_table(
                    "orders_event",
                    schema_name="bench",
                    columns=EVENT_COLUMNS.split(", "),
                    records=rows,
                )
        return count / (time.perf_counter() - started)
    finally:
        await connection.close()


def _batches(load: Load, count: int, heads: dict[int, ShardHead]) -> list[Sequence[StoredEvent]]:
    events = list(stored_events(load, 0, -(-count // 3), heads))[:count]
    return [events[first : first + BATCH] for first in range(0, count, BATCH)]

"""Random turns leave the same in the log in memory and in the log in Postgres."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.effect import Release, Start
from services.runtime.log.event_log import EffectOrigin, EventLog, LastSequence
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.log.postgres_log import PostgresEventLog
from tests.contract.test_event_log import SHARDS, SOURCE, log, start
from tests.controls import T0, settings_for

__all__ = ["log"]
TOPIC: Final = "requests"
IDS: Final = ["e/1", "e/2", "e'\"\\{}", ""]
KEYS: Final = ["k", 'NULL,"{}"', "键🙂", ""]
# What jsonb and text take: NUL and lone surrogates are refused where they come in.
TEXTS: Final = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9
)
DUES: Final = st.none() | st.integers(-2, 2).map(lambda n: T0 + timedelta(minutes=n))
SHARD: Final = st.sampled_from([1, 2])


@st.composite
def turns(draw: st.DrawFn) -> dict[str, Any]:
    """Return what one turn does, as `Journal.flush` would have it; effects of an id are begun once."""
    again = st.tuples(DUES, st.none() | st.dictionaries(TEXTS, TEXTS, max_size=2), st.none())
    held = st.tuples(st.none(), st.none(), st.sampled_from(KEYS))
    ids = st.tuples(SHARD, st.sampled_from(IDS))
    keys = st.lists(st.tuples(SHARD, st.sampled_from(KEYS)), max_size=3)
    start = st.tuples(
        DUES, st.dictionaries(TEXTS, TEXTS, max_size=2), st.none() | st.sampled_from(KEYS)
    )
    return {
        "finish": draw(st.lists(ids, max_size=2)),
        "again": draw(st.lists(st.tuples(ids, again | held), max_size=2)),
        "start": draw(st.lists(st.tuples(ids, start), max_size=4, unique_by=lambda each: each[0])),
        "release": draw(keys),
        "drop": draw(keys),
        "offset": draw(st.none() | st.integers(1, 2**62)),
        "numbers": draw(st.integers(0, 3)),
        "poll": draw(st.none() | st.integers(-3, 3).map(lambda n: T0 + timedelta(minutes=n))),
    }


async def run(log: EventLog, turn: dict[str, Any], there: set[tuple[int, str]], number: int) -> Any:
    """Run one turn as the journal does; return the effects that it leased."""
    there -= set(turn["finish"])
    again = [each for each in turn["again"] if each[0] in there]
    begun = [each for each in turn["start"] if each[0] not in there]
    async with log.transaction(partitions=[(TOPIC, 1)], shards=[1, 2], sources=[(SOURCE, 1)]) as tx:
        await tx.finish_effects(turn["finish"])
        for effect, (due_at, payload, hold_key) in again:
            due = due_at if due_at or hold_key else T0
            await tx.reschedule_effect(effect, due_at=due, payload=payload, hold_key=hold_key)
        leased = await tx.start_effects(
            [
                (
                    EffectOrigin(shard, "acct-1", "order/1", UUID(int=7), "r-1", None),
                    Start(effect_id, "e", payload, due_at=due_at, hold_key=hold_key),
                )
                for (shard, effect_id), (due_at, payload, hold_key) in begun
            ],
            now=T0,
        )
        await tx.release_effects([(shard, Release(key)) for shard, key in turn["release"]], now=T0)
        await tx.drop_effects(turn["drop"])
        if turn["offset"]:
            tx.move_cursor((TOPIC, 1), turn["offset"])
        last = tx.last_sequences.get((SOURCE, 1), LastSequence(0, UUID(int=0))).sequence
        for n in range(turn["numbers"]):
            tx.move_sequence(SOURCE, 1, LastSequence(last + n + 1, UUID(int=number * 10 + n)))
        leased += await tx.write_staged()
    if turn["poll"]:
        leased += await log.lease_due_effects(now=turn["poll"], limit=50)
    return sorted(
        (each.run.key, each.run.recovered, json.dumps(each.run.payload, sort_keys=True))
        for each in leased
    )


def in_memory(log: MemoryEventLog) -> list[Any]:
    tables = log._tables  # noqa: SLF001 - there is no other way to see all of it
    effects = [
        (
            *key,
            row.due_at,
            row.hold_key,
            row.attempt,
            row.interrupted,
            row.lease_until is not None,
            row.start.payload,
            row.checkpoint,
        )
        for key, row in tables.effects.items()
    ]
    return [sorted(effects, key=repr), tables.cursors, tables.sequences, tables.taken]


async def in_postgres(pool: asyncpg.Pool) -> list[Any]:
    effects = [
        (*row[:7], json.loads(row[7]), row[8])
        for row in await pool.fetch(
            "SELECT shard, effect_id, due_at, hold_key, attempt, interrupted,"
            " lease_until IS NOT NULL, payload, checkpoint FROM effect"
        )
    ]
    cursors = {
        tuple(row)[:2]: row[2]
        for row in await pool.fetch("SELECT topic, partition, next_offset FROM cursor")
    }
    sequences = {
        (row[0], row[1]): LastSequence(row[2], row[3])
        for row in await pool.fetch(
            "SELECT source, shard, last_sequence, last_event_id FROM source_sequence"
        )
    }
    taken = {
        (row[0], row[1], row[2] + n): UUID(bytes=row[3][16 * n : 16 * n + 16])
        for row in await pool.fetch(
            "SELECT source, shard, first_sequence, event_ids FROM taken_event"
        )
        for n in range(len(row[3]) // 16)
    }
    return [sorted(effects, key=repr), cursors, sequences, taken]


@pytest.mark.parametrize("there", [True, False], ids=["before", "in the same turn"])
async def test_effect_that_is_there_is_not_begun_again_and_nothing_is_written(
    log: EventLog,
    there: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    effects = [Start("e/1", "e", hold_key="first"), Start("e/1", "e", hold_key="second")]
    if there:
        await start(log, effects.pop(0), now=T0)
    with pytest.raises((asyncpg.UniqueViolationError, ValueError)):
        await start(log, *effects, now=T0)
    async with log.transaction(shards=[1]) as tx:
        await tx.release_effects([(1, Release("first")), (1, Release("second"))], now=T0)
        assert len(await tx.write_staged()) == there


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    opened = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    yield opened
    await opened.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(turns(), min_size=1, max_size=6))
async def test_random_turns_leave_the_same(
    fresh_database: str, pool: asyncpg.Pool, story: list[dict[str, Any]]
) -> None:
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    await owner.execute("TRUNCATE effect, cursor, source_sequence, taken_event")
    await owner.close()
    memory = MemoryEventLog(shard_count=SHARDS, lease_seconds=60, wall_clock=lambda: T0)
    postgres = PostgresEventLog(pool)
    for each in (memory, postgres):
        await each.ensure_cursors({(TOPIC, 1): 0})
    for number, turn in enumerate(story):
        there = {(each[0], each[1]) for each in in_memory(memory)[0]}
        leased = [await run(each, turn, set(there), number) for each in (memory, postgres)]
        assert leased[0] == leased[1]
        assert in_memory(memory) == await in_postgres(pool)

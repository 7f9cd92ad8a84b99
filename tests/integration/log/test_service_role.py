"""What the Postgres role of a service can do to the log: append what follows, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.log.event_log import LastSequence, StoredEvent, chain_hash
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.log.postgres_rows import EVENT_COLUMNS
from tests.contract.test_event_log import SHARDS, SOURCE, append, event
from tests.controls import settings_for

OTHER_SOURCE = "/billing/elsewhere"


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    """Return the connections of orders, whose shard 1 holds two events."""
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    opened = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    await append(PostgresEventLog(opened), ("order/a", 1), ("order/a", 2))
    yield opened
    await opened.close()


async def following(pool: asyncpg.Pool, count: int = 1) -> list[StoredEvent]:
    """Return the next events of shard 1, as the runtime makes them."""
    events = []
    async with PostgresEventLog(pool).transaction(shards=[1]) as tx:
        for number in range(count):
            events.append(event(tx, f"order/next-{number}", 1))
            head = tx.heads[1]
            head.position, head.hash = events[-1].position, events[-1].hash
            head.sequence += 1
    return events


def hashed(stored: StoredEvent, previous: bytes) -> StoredEvent:
    """Return an event with a hash that fits it."""
    return stored._replace(hash=chain_hash(previous, stored))


async def copy(pool: asyncpg.Pool, *events: StoredEvent) -> None:
    """Put rows into the table of events as they are."""
    await pool.copy_records_to_table("event", columns=EVENT_COLUMNS.split(", "), records=events)


async def heads(pool: asyncpg.Pool) -> list[asyncpg.Record]:
    """Return all heads."""
    rows: list[asyncpg.Record] = await pool.fetch("SELECT * FROM shard ORDER BY shard")
    return rows


async def test_appended_events_move_the_head_of_their_shard(pool: asyncpg.Pool) -> None:
    one, two, three = await following(pool, 3)

    await copy(pool, one)
    await copy(pool, two, three)

    head = (await heads(pool))[1]
    assert (head["head_position"], head["head_sequence"]) == (5, 5)
    assert head["head_hash"] == three.hash
    assert (head["head_recorded_at"], head["head_recorded_position"]) == (three.recorded_at, 5)


async def test_events_of_other_sources_move_the_position_and_not_our_sequence(
    pool: asyncpg.Pool,
) -> None:
    head = (await heads(pool))[1]
    [one] = await following(pool)
    filed = hashed(one._replace(source=OTHER_SOURCE, sequence=70), head["head_hash"])
    own = hashed(one._replace(stream_id="order/b", position=4), filed.hash)

    await copy(pool, filed, own)

    head = (await heads(pool))[1]
    assert (head["head_position"], head["head_sequence"]) == (4, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"position": 4},
        {"position": 9},
        {"sequence": 2},
        {"sequence": 4},
        {"shard": 2},
        {"shard": SHARDS + 1},
    ],
)
async def test_event_that_does_not_follow_is_refused(
    pool: asyncpg.Pool, change: dict[str, Any]
) -> None:
    before = await heads(pool)
    [one] = await following(pool)
    wrong = hashed(one._replace(**change), before[1]["head_hash"])

    with pytest.raises(asyncpg.CheckViolationError, match="do not follow"):
        await copy(pool, wrong)

    assert await heads(pool) == before


async def test_two_events_in_the_wrong_order_of_numbers_are_refused(pool: asyncpg.Pool) -> None:
    before = await heads(pool)
    one, two = await following(pool, 2)
    first = hashed(one._replace(sequence=two.sequence), before[1]["head_hash"])
    second = hashed(two._replace(sequence=one.sequence), first.hash)

    with pytest.raises(asyncpg.CheckViolationError, match="do not follow"):
        await copy(pool, first, second)


@pytest.mark.parametrize("wrong", ["first", "last"])
async def test_hash_that_does_not_bind_to_the_head_or_would_become_it_is_refused(
    pool: asyncpg.Pool, wrong: str
) -> None:
    before = await heads(pool)
    one, two, three = await following(pool, 3)
    if wrong == "first":
        one = hashed(one, b"another past".ljust(32))
        two = hashed(two, one.hash)
        three = hashed(three, two.hash)
    else:
        three = three._replace(body=b"{}")

    with pytest.raises(asyncpg.CheckViolationError, match="do not follow"):
        await copy(pool, one, two, three)

    assert await heads(pool) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = ''",
        "DELETE FROM event",
        "TRUNCATE event",
        "ALTER TABLE event DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "UPDATE shard SET head_position = head_position - 1 WHERE shard = 1",
        "UPDATE shard SET head_position = head_position + 1 WHERE shard = 1",
        "UPDATE shard SET head_hash = sha256('')",
        "UPDATE shard SET head_sequence = 0 WHERE shard = 1",
        "UPDATE shard SET head_recorded_at = now() WHERE shard = 1",
        "INSERT INTO shard (shard) VALUES (99)",
        "DELETE FROM shard",
        "DELETE FROM source_sequence",
        "UPDATE source_sequence SET last_sequence = last_sequence - 1",
        "UPDATE source_sequence SET last_event_id = gen_random_uuid()",
        "UPDATE taken_event SET event_ids = ''",
    ],
)
async def test_statement_that_rewrites_the_past_is_refused(
    pool: asyncpg.Pool, statement: str
) -> None:
    async with PostgresEventLog(pool).transaction(sources=[(SOURCE, 1)]) as tx:
        tx.move_sequence(OTHER_SOURCE, 1, LastSequence(7, (await following(pool))[0].event_id))
    before = [await pool.fetch(f"TABLE {name}") for name in ("event", "shard", "source_sequence")]

    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError)):
        await pool.execute(statement)

    after = [await pool.fetch(f"TABLE {name}") for name in ("event", "shard", "source_sequence")]
    assert after == before


async def test_owner_can_move_a_head_for_a_restore(fresh_database: str, pool: asyncpg.Pool) -> None:
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    try:
        await owner.execute("UPDATE shard SET head_sequence = 9 WHERE shard = 1")
    finally:
        await owner.close()
    assert (await heads(pool))[1]["head_sequence"] == 9


async def test_function_that_moves_heads_cannot_be_hung_on_a_table_of_ones_own(
    pool: asyncpg.Pool,
) -> None:
    async with pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE mine (LIKE event)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS appended"
                " FOR EACH STATEMENT EXECUTE FUNCTION orders.move_heads()"
            )


async def test_table_of_ones_own_is_not_taken_for_the_heads(pool: asyncpg.Pool) -> None:
    before = await heads(pool)
    one, two = await following(pool, 2)
    async with pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE shard AS SELECT * FROM orders.shard")
        await connection.execute("UPDATE pg_temp.shard SET head_position = 3")
        with pytest.raises(asyncpg.CheckViolationError, match="do not follow"):
            await connection.copy_records_to_table(
                "event", columns=EVENT_COLUMNS.split(", "), records=[two]
            )
        await connection.execute("DROP TABLE pg_temp.shard")
    assert await heads(pool) == before
    await copy(pool, one, two)


async def test_process_of_the_version_before_goes_on_beside_this_one(pool: asyncpg.Pool) -> None:
    """It moves the head itself, to where the append has moved it."""
    [one] = await following(pool)
    async with pool.acquire() as connection, connection.transaction():
        await connection.copy_records_to_table(
            "event", columns=EVENT_COLUMNS.split(", "), records=[one]
        )
        await connection.execute(
            "UPDATE shard SET head_position = $1, head_hash = $2, head_sequence = $3"
            " WHERE shard = 1",
            one.position,
            one.hash,
            one.sequence,
        )
    assert (await heads(pool))[1]["head_position"] == 3


async def test_append_reads_a_few_rows_however_long_the_log_was_when_it_was_planned(
    fresh_database: str, pool: asyncpg.Pool
) -> None:
    """The plan is made once for each connection, with the log nearly empty and without statistics."""
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    try:
        await owner.execute("ALTER TABLE event SET (autovacuum_enabled = off)")
        async with pool.acquire() as connection:
            for batch in range(20):
                events = []
                async with PostgresEventLog(pool).transaction(shards=[1]) as tx:
                    head = tx.heads[1]
                    for number in range(50):
                        events.append(event(tx, f"order/{batch}-{number}", 1))
                        head.position, head.hash = events[-1].position, events[-1].hash
                        head.sequence += 1
                await connection.copy_records_to_table(
                    "event", columns=EVENT_COLUMNS.split(", "), records=events
                )
            await connection.execute("SELECT pg_stat_force_next_flush()")
        read = await owner.fetchval(
            "SELECT sum(idx_tup_read) + (SELECT seq_tup_read FROM pg_stat_user_tables"
            " WHERE relid = 'event'::regclass) FROM pg_stat_user_indexes"
            " WHERE relid = 'event'::regclass"
        )
    finally:
        await owner.close()
    assert read < 200

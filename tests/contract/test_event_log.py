"""What every event log does: one suite for the log in memory and the log in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import asyncpg
import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.effect import Release, Start
from services.runtime.errors import Halt, VersionConflict
from services.runtime.log.event_log import (
    BEFORE_ALL,
    GENESIS_HASH,
    DeadLetter,
    EffectOrigin,
    EventLog,
    LastSequence,
    LeasedEffect,
    StoredEvent,
    Transaction,
    chain_hash,
)
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import T0, settings_for

SHARDS = 4
LEASE_SECONDS = 1
SOURCE = "/billing/orders"
NAMESPACE = UUID("00000000-0000-4000-8000-000000000000")


@pytest.fixture
async def log(database: str | None) -> AsyncIterator[EventLog]:
    if database is None:
        yield MemoryEventLog(
            shard_count=SHARDS, lease_seconds=LEASE_SECONDS, wall_clock=lambda: datetime.now(UTC)
        )
        return
    await set_up_postgres(database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(database, role="perennial_orders:secret"))
    try:
        yield PostgresEventLog(pool, lease_seconds=LEASE_SECONDS)
    finally:
        await pool.close()


def event(
    tx: Transaction, stream_id: str, stream_version: int, *, shard: int = 1, source: str = SOURCE
) -> StoredEvent:
    """Return the next event of `shard`, chained to its head."""
    head = tx.heads[shard]
    unchained = StoredEvent(
        shard=shard,
        position=head.position + 1,
        stream_id=stream_id,
        stream_version=stream_version,
        event_id=uuid5(NAMESPACE, f"{stream_id}/{stream_version}"),
        source=source,
        type="toys.Counted.v1",
        sequence=head.sequence + 1,
        account_id="acct-1",
        correlation_id="r-1",
        causation_id=None,
        traceparent=None,
        occurred_at=T0,
        recorded_at=T0,
        body=b'{"account_id":"acct-1"}',
    )
    return unchained._replace(hash=chain_hash(head.hash, unchained))


async def append(
    log: EventLog, *stream_versions: tuple[str, int], source: str = SOURCE, shard: int = 1
) -> None:
    """Append one event for each (stream_id, stream_version) to a shard, in one transaction."""
    async with log.transaction(shards=[shard]) as tx:
        events = []
        for stream_id, stream_version in stream_versions:
            events.append(event(tx, stream_id, stream_version, shard=shard, source=source))
            head = tx.heads[shard]
            head.position, head.hash = events[-1].position, events[-1].hash
            head.sequence += 1
        await tx.append(events)


def origin() -> EffectOrigin:
    return EffectOrigin(1, "acct-1", "order/r-1", uuid5(NAMESPACE, "cause"), "r-1", None)


async def start(log: EventLog, *effects: Start, now: datetime) -> list[LeasedEffect]:
    async with log.transaction(shards=[1]) as tx:
        return await tx.start_effects([(origin(), effect) for effect in effects], now=now)


async def test_appended_events_come_back_in_stream_order_with_the_same_bytes(log: EventLog) -> None:
    await append(log, ("order/a", 1), ("order/b", 1), ("order/a", 2))
    async with log.transaction() as tx:
        streams = await tx.load_streams(["order/a", "order/b", "order/never"])
    assert [row.stream_version for row in streams["order/a"]] == [1, 2]
    assert [row.position for row in streams["order/a"]] == [1, 3]
    assert streams["order/b"][0].body == b'{"account_id":"acct-1"}'
    assert "order/never" not in streams


async def test_head_moves_and_the_chain_can_be_recomputed(log: EventLog) -> None:
    await append(log, ("order/a", 1), ("order/a", 2))
    await append(log, ("order/a", 3))
    async with log.transaction(shards=[1, 2]) as tx:
        assert (tx.heads[1].position, tx.heads[1].sequence) == (3, 3)
        assert tx.heads[2].hash == GENESIS_HASH
        stored = (await tx.load_streams(["order/a"]))["order/a"]
    previous = GENESIS_HASH
    for row in stored:
        assert row.hash == chain_hash(previous, row)
        previous = row.hash
    assert tx.heads[1].hash == previous


async def test_locked_head_says_when_it_was_recorded(log: EventLog) -> None:
    async with log.transaction(shards=[1]) as tx:
        assert tx.heads[1].recorded_at == BEFORE_ALL
    await append(log, ("order/a", 1))
    async with log.transaction(shards=[1, 2]) as tx:
        assert (tx.heads[1].recorded_at, tx.heads[2].recorded_at) == (T0, BEFORE_ALL)


async def test_head_that_an_older_version_moved_is_dated_by_the_log(fresh_database: str) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    try:
        log = PostgresEventLog(pool)
        await append(log, ("order/a", 1))
        # As it stands since before the database moves heads itself.
        owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
        await owner.execute(
            "UPDATE shard SET head_recorded_at = $1, head_recorded_position = 0 WHERE shard = 1",
            T0 - timedelta(days=1),
        )
        await owner.close()
        async with log.transaction(shards=[1, 2]) as tx:
            assert (tx.heads[1].recorded_at, tx.heads[2].recorded_at) == (T0, BEFORE_ALL)
    finally:
        await pool.close()


async def test_taken_stream_version_is_a_conflict_and_nothing_is_appended(log: EventLog) -> None:
    await append(log, ("order/a", 1))
    with pytest.raises(VersionConflict):
        await append(log, ("order/b", 1), ("order/a", 1))
    async with log.transaction(shards=[1]) as tx:
        assert tx.heads[1].position == 1
        assert await tx.load_streams(["order/b"]) == {}


async def test_failed_transaction_leaves_no_trace(log: EventLog) -> None:
    await log.ensure_cursors({("requests", 0): 0})

    async def append_and_fail() -> None:
        async with log.transaction(partitions=[("requests", 0)], shards=[1]) as tx:
            await tx.append([event(tx, "order/a", 1)])
            tx.move_cursor(("requests", 0), 5)
            message = "boom"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="boom"):
        await append_and_fail()
    assert await log.cursors() == {("requests", 0): 0}
    async with log.transaction(shards=[1]) as tx:
        assert tx.heads[1].position == 0


async def test_unknown_shard_halts_with_what_to_do(log: EventLog) -> None:
    with pytest.raises(Halt, match="perennial setup"):
        async with log.transaction(shards=[SHARDS + 3]):
            pass


async def test_cursor_and_sequence_commit_together(log: EventLog) -> None:
    partition, newest = ("orders", 1), LastSequence(7, uuid5(NAMESPACE, "seven"))
    await log.ensure_cursors({partition: 3})
    await log.ensure_cursors({partition: 99})
    async with log.transaction(partitions=[partition], sources=[(SOURCE, 1)]) as tx:
        assert tx.next_offsets == {partition: 3}
        assert tx.last_sequences == {}
        tx.move_cursor(partition, 4)
        tx.move_sequence(SOURCE, 1, newest)
    async with log.transaction(partitions=[partition], sources=[(SOURCE, 1)]) as tx:
        assert tx.next_offsets == {partition: 4}
        assert tx.last_sequences == {(SOURCE, 1): newest}


async def test_effect_due_at_once_is_leased_to_its_writer_and_to_nobody_else(log: EventLog) -> None:
    now = datetime.now(UTC)
    leased = await start(log, Start("charge/r-1", "charge", {"token": "tok_ok"}), now=now)
    assert [(row.run.kind, row.run.attempt, row.run.recovered) for row in leased] == [
        ("charge", 1, False)
    ]
    assert leased[0].run.payload == {"token": "tok_ok"}
    assert await log.lease_due_effects(now=now + timedelta(hours=1), limit=10) == []


async def test_effect_of_a_crashed_worker_is_leased_again_as_recovered(log: EventLog) -> None:
    now = datetime.now(UTC)
    await start(log, Start("charge/r-1", "charge"), now=now)
    run = (1, "charge/r-1", 1)
    assert await log.mark_effects({run: "dot_sent"}) == {run}
    again = await _lease_until_found(log, now)
    assert [(row.run.attempt, row.run.recovered, row.run.checkpoint) for row in again] == [
        (2, True, "dot_sent")
    ]
    assert again[0].origin == origin()


async def _lease_until_found(log: EventLog, now: datetime) -> list[LeasedEffect]:
    for _ in range(50):
        if found := await log.lease_due_effects(now=now, limit=10):
            return found
        await asyncio.sleep(0.1)
    return []


async def test_delayed_effect_waits_for_its_time(log: EventLog) -> None:
    now = datetime.now(UTC)
    due = now + timedelta(minutes=30)
    assert await start(log, Start("expire/r-1", "expire", due_at=due), now=now) == []
    assert await log.lease_due_effects(now=due - timedelta(seconds=1), limit=10) == []
    found = await log.lease_due_effects(now=due, limit=10)
    assert [(row.run.effect_id, row.run.recovered) for row in found] == [("expire/r-1", False)]


async def test_held_effect_runs_when_released_and_never_when_dropped(log: EventLog) -> None:
    now = datetime.now(UTC)
    held = [
        Start("activate/r-1", "activate", hold_key="order/r-1"),
        Start("activate/r-2", "activate", hold_key="order/r-2"),
    ]
    assert await start(log, *held, now=now) == []
    assert await log.lease_due_effects(now=now + timedelta(days=9), limit=10) == []
    async with log.transaction(shards=[1]) as tx:
        await tx.release_effects([(1, Release("order/r-1"))], now=now)
        await tx.drop_effects([(1, "order/r-2")])
        released = await tx.write_staged()
    assert [row.run.effect_id for row in released] == ["activate/r-1"]
    assert released[0].run.attempt == 1
    assert not released[0].run.recovered
    async with log.transaction(shards=[1]) as tx:
        await tx.release_effects([(1, Release("order/r-2"))], now=now)
        assert await tx.write_staged() == []


async def test_rescheduled_effect_comes_back_changed_and_finished_one_never(log: EventLog) -> None:
    now = datetime.now(UTC)
    await start(log, Start("charge/r-1", "charge", {"step": 1}), now=now)
    key = (1, "charge/r-1")
    run = (*key, 1)
    later = now + timedelta(minutes=1)
    async with log.transaction(shards=[1], runs=[run, (1, "charge/other", 1)]) as tx:
        assert tx.live_runs == {run}
        await tx.reschedule_effect(key, due_at=later, payload={"step": 2}, hold_key=None)
    found = await log.lease_due_effects(now=later, limit=10)
    assert [(row.run.payload, row.run.attempt, row.run.recovered) for row in found] == [
        ({"step": 2}, 2, False)
    ]
    async with log.transaction(shards=[1]) as tx:
        await tx.finish_effects([key])
    async with log.transaction(shards=[1], runs=[(*key, 2)]) as tx:
        assert tx.live_runs == set()


async def test_worker_that_lost_its_lease_can_neither_mark_nor_record(log: EventLog) -> None:
    now = datetime.now(UTC)
    first = await start(log, Start("email/n-1", "email"), now=now)
    second = await _lease_until_found(log, now)

    marks = {first[0].run.key: "stale", second[0].run.key: "dot_sent"}
    assert await log.mark_effects(marks) == {second[0].run.key}
    await log.extend_leases([first[0].run.key])
    keys = [first[0].run.key, second[0].run.key]
    async with log.transaction(shards=[1], runs=keys) as tx:
        assert tx.live_runs == {second[0].run.key}


async def test_dead_letter_is_kept_once(log: EventLog) -> None:
    letter = DeadLetter("requests", 0, 7, None, b"\xff", (("ce_id", None),), "not_utf8", "", 1, T0)
    for _ in range(2):
        async with log.transaction() as tx:
            await tx.add_dead_letters([letter])
    async with log.transaction() as tx:
        assert await tx.open_dead_letters() == 1


async def test_dead_letter_of_a_topic_made_again_is_kept_beside_the_one_at_the_same_offset(
    log: EventLog,
) -> None:
    letter = DeadLetter("requests", 0, 7, None, b"1", (), "not_utf8", "", 1, T0)
    await log.ensure_cursors({("requests", 0): 0})
    for topic_id in ("first", "again", "again"):
        await call_topic(log, "requests", topic_id)
        async with log.transaction(partitions=[("requests", 0)]) as tx:
            await tx.add_dead_letters([letter._replace(value=topic_id.encode())])
    async with log.transaction() as tx:
        assert await tx.open_dead_letters() == 2


async def call_topic(log: EventLog, topic: str, topic_id: str) -> None:
    """Have the cursors of a topic count in the one that has this id."""
    if isinstance(log, MemoryEventLog):
        log._tables.topic_ids[topic] = topic_id  # noqa: SLF001 - as below
    elif isinstance(log, PostgresEventLog):
        await log._pool.execute(  # noqa: SLF001 - the running service asks the broker
            "UPDATE cursor SET topic_id = $2 WHERE topic = $1", topic, topic_id
        )


async def test_service_role_cannot_change_or_delete_an_event(fresh_database: str) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    try:
        await append(PostgresEventLog(pool), ("order/a", 1))
        for statement in ("UPDATE event SET body = ''", "DELETE FROM event", "TRUNCATE event"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)
    finally:
        await pool.close()


async def test_trigger_refuses_a_change_even_by_the_owner(fresh_database: str) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    connection = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    try:
        for statement in ("UPDATE event SET body = ''", "DELETE FROM event", "TRUNCATE event"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()

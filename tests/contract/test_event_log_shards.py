"""What every event log keeps of parked shards, of what was taken, of leases and results set aside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.effect import Start
from services.runtime.log.event_log import DeadLetter, EventLog, LastSequence, Overflow, Parking
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.log.postgres_log import PostgresEventLog
from tests.contract.test_event_log import (
    LEASE_SECONDS,
    SHARDS,
    SOURCE,
    append,
    log,
    start,
)
from tests.controls import T0, settings_for

__all__ = ["log"]
PARKING = Parking(1, "sequence_gap", "what lies between is missing", "t", 1, 7, UUID(int=9))


async def test_parked_shard_is_seen_by_whoever_locks_it_until_it_goes_on(log: EventLog) -> None:
    async with log.transaction(shards=[1]) as tx:
        assert not tx.heads[1].parked
        await tx.park(PARKING)
    assert await log.parkings() == [PARKING]
    again = Parking(1, "no_posting_rule", "add a row")
    async with log.transaction(shards=[0, 1]) as tx:
        assert [tx.heads[shard].parked for shard in (0, 1)] == [False, True]
        await tx.park(again)
    assert await log.parkings() == [again]
    async with log.transaction(shards=[1]) as tx:
        await tx.unpark(1, "resumed")
    assert await log.parkings() == []
    async with log.transaction(shards=[1]) as tx:
        assert not tx.heads[1].parked


async def test_due_effects_of_a_parked_shard_are_leased_when_it_goes_on(log: EventLog) -> None:
    await start(log, Start("e-1", "e", due_at=T0 + timedelta(minutes=1)), now=T0)
    async with log.transaction(shards=[1]) as tx:
        await tx.park(PARKING)
    later = T0 + timedelta(minutes=2)
    assert await log.lease_due_effects(now=later, limit=10) == []
    async with log.transaction(shards=[1]) as tx:
        await tx.unpark(1, "resumed")
    assert len(await log.lease_due_effects(now=later, limit=10)) == 1


async def test_effect_set_aside_gives_up_its_lease_and_is_due_later_as_interrupted(
    log: EventLog,
) -> None:
    [leased] = await start(log, Start("e-1", "e"), now=T0)
    due_at = T0 + timedelta(seconds=5)
    await log.set_effect_aside((*leased.run.key[:2], 7), due_at=T0, trouble="not mine")
    await log.set_effect_aside(leased.run.key, due_at=due_at, trouble="boom")
    assert await log.lease_due_effects(now=T0, limit=10) == []
    [again] = await log.lease_due_effects(now=due_at, limit=10)
    assert (again.run.effect_id, again.run.attempt, again.run.recovered) == ("e-1", 2, True)


async def test_run_that_gave_up_its_lease_records_marks_and_extends_nothing_more(
    log: EventLog,
) -> None:
    """The transaction that rescheduled it may have committed, and its answer have been lost."""
    now = datetime.now(UTC)
    [leased] = await start(log, Start("charge/r-1", "charge"), now=now)
    run = leased.run.key
    async with log.transaction(shards=[1], runs=[run]) as tx:
        await tx.reschedule_effect(run[:2], due_at=now, payload=None, hold_key=None)

    assert await log.mark_effects({run: "stale"}) == set()
    await log.extend_leases([run])
    await log.set_effect_aside(run, due_at=now + timedelta(hours=1), trouble="stale")
    async with log.transaction(shards=[1], runs=[run]) as tx:
        assert tx.live_runs == set()
    [again] = await log.lease_due_effects(now=now, limit=10)
    assert (again.run.attempt, again.run.recovered, again.run.checkpoint) == (2, False, None)


async def test_taken_events_are_known_by_their_number_in_this_and_later_transactions(
    log: EventLog,
) -> None:
    async def take(*numbers: int) -> None:
        async with log.transaction(sources=[(SOURCE, 1)]) as tx:
            for number in numbers:
                tx.move_sequence(SOURCE, 1, LastSequence(number, UUID(int=number)))
            assert tx.taken == {(SOURCE, 1, n): UUID(int=n) for n in numbers}

    await take(1, 2, 3)
    await take(4)
    await take(5, 6)
    async with log.transaction(sources=[(SOURCE, 1)]) as tx:
        assert tx.last_sequences[SOURCE, 1].sequence == 6
        wanted = [(SOURCE, 1, n) for n in (1, 3, 4, 5, 6, 9)] + [(SOURCE, 2, 1), ("/other", 1, 1)]
        await tx.load_taken(wanted)
        assert tx.taken == {(SOURCE, 1, n): UUID(int=n) for n in (1, 3, 4, 5, 6)}


async def test_hashes_tell_where_the_log_ends_and_what_it_holds(log: EventLog) -> None:
    await append(log, ("order/1", 1), ("order/1", 2))
    ends = await log.ends()
    position, newest = ends[1]
    assert position == 2
    found = await log.hashes_at({0: 1, 1: 2})
    assert found == {1: newest}
    async with log.transaction() as tx:
        assert await tx.hashes_at({1: 1}) != found
        assert await tx.hashes_at({1: 3}) == {}
        assert await tx.hashes_at({}) == {}
    assert isinstance(await log.server(), str)


async def test_lease_that_ends_later_than_one_can_is_free(fresh_database: str) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(fresh_database, role="perennial_orders:secret"))
    try:
        log = PostgresEventLog(pool, lease_seconds=LEASE_SECONDS)
        now = datetime.now(UTC)
        await start(log, Start("charge/r-1", "charge"), Start("charge/r-2", "charge"), now=now)
        for effect, seconds in (("charge/r-1", 7_200), ("charge/r-2", LEASE_SECONDS)):
            await pool.execute(
                "UPDATE effect SET lease_until = clock_timestamp() + make_interval(secs => $2)"
                " WHERE effect_id = $1",
                effect,
                seconds,
            )
        [freed] = await log.lease_due_effects(now=now, limit=10)
        assert (freed.run.effect_id, freed.run.attempt, freed.run.recovered) == (
            "charge/r-1",
            2,
            True,
        )
    finally:
        await pool.close()


async def test_lease_of_a_process_that_leases_for_longer_is_left_alone(
    database: str | None, log: EventLog
) -> None:
    now = datetime.now(UTC)
    longer = log
    if database is not None:
        dsn = settings_for(database, role="perennial_orders:secret")
        longer = PostgresEventLog(await open_pool("orders", dsn), lease_seconds=1_800)
    elif isinstance(log, MemoryEventLog):
        longer = MemoryEventLog(
            shard_count=SHARDS, lease_seconds=1_800, wall_clock=lambda: datetime.now(UTC)
        )
        longer._tables = log._tables  # noqa: SLF001 - another process on the same database
    try:
        await start(longer, Start("charge/r-1", "charge"), now=now)
        assert await log.lease_due_effects(now=now + timedelta(hours=1), limit=10) == []
    finally:
        if isinstance(longer, PostgresEventLog):
            await longer._pool.close()  # noqa: SLF001 - opened above


async def test_letter_that_waits_for_a_parked_shard_takes_no_room_of_its_source(
    log: EventLog,
) -> None:
    letter = DeadLetter("requests", 0, 7, None, b"1", (), "not_utf8", "", 1, T0, source="/shop")
    async with log.transaction() as tx:
        await tx.add_dead_letters([letter, letter._replace(record_offset=8, parked_shard=1)])
        assert await tx.open_letters() == [("/shop", None, 1)]


async def test_letters_that_are_only_counted_are_no_open_letters_and_are_added_up(
    log: EventLog,
) -> None:
    counted = Overflow("t", "/a/b", "not_json", 2, T0, 1, 7)
    later = counted._replace(letters=3, record_offset=9)
    for overflow in (counted, later):
        async with log.transaction(shards=[1]) as tx:
            await tx.count_overflow([overflow])
    async with log.transaction(shards=[1]) as tx:
        assert await tx.open_dead_letters() == 0
        assert await tx.open_letters() == []
    assert await letters_counted(log) == 5


async def letters_counted(log: EventLog) -> int:
    """Return how many letters are counted, as whoever keeps them has it."""
    if isinstance(log, MemoryEventLog):
        return sum(each.letters for each in log._tables.overflow.values())  # noqa: SLF001
    assert isinstance(log, PostgresEventLog)
    found: int = await log._pool.fetchval("SELECT sum(letters)::int FROM dead_letter_overflow")  # noqa: SLF001
    return found


async def test_log_works_on_the_server_that_it_is_said_to_be_on(log: EventLog) -> None:
    log.trust(await log.server())
    await append(log, ("order/a", 1))
    assert await log.archived() == {}
    assert (await log.ends())[1].position == 1

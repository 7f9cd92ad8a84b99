"""How far a shard is published is believed of the log that it was said of, and of no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from services.runtime.log.event_log import GENESIS_HASH, EventLog, LogEnd
from services.runtime.log.memory_log import MemoryEventLog
from tests.contract.test_event_log import SOURCE, append, log

__all__ = ["log"]

SHARD = 1
OTHER = 2
TABLES = ("event", "archived_range", "archived_stream")
HEAD = (
    "head_position, head_hash, head_sequence, head_recorded_at, head_recorded_position,"
    " published_position, archived_position"
)
PutBack = Callable[[], Awaitable[None]]


@asynccontextmanager
async def as_owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection that no trigger keeps from anything."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "orders"})
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()


async def kept(log: EventLog, database: str | None) -> PutBack:
    """Return what puts the log back to this moment, as a restored backup does."""
    if isinstance(log, MemoryEventLog):
        before = log._tables.snapshot()  # noqa: SLF001 - a restored backup does not ask either

        async def put_memory_back() -> None:
            tables = log._tables  # noqa: SLF001
            tables.events, tables.versions = list(before.events), set(before.versions)
            tables.published = dict(before.published)
            for shard, head in tables.heads.items():
                tables.heads[shard] = replace(before.heads[shard], parked=head.parked)

        return put_memory_back
    assert database is not None
    async with as_owner(database) as owner:
        rows: dict[str, list[Any]] = {
            table: await owner.fetch(f"SELECT * FROM {table}") for table in TABLES
        }
        heads = await owner.fetch(f"SELECT {HEAD}, shard FROM shard")

    async def put_back() -> None:
        async with as_owner(database) as owner, owner.transaction():
            for table, found in rows.items():
                await owner.execute(f"DELETE FROM {table}")
                await owner.copy_records_to_table(table, records=found)
            names = HEAD.split(", ")
            numbered = ", ".join(f"{name} = ${number}" for number, name in enumerate(names, 1))
            for row in heads:
                await owner.execute(
                    f"UPDATE shard SET {numbered} WHERE shard = ${len(names) + 1}",
                    *row,
                )

    return put_back


async def events(log: EventLog, name: str, count: int, shard: int = SHARD) -> None:
    """Append `count` events of one stream."""
    await append(log, *((f"order/{name}", version + 1) for version in range(count)), shard=shard)


async def test_unpublished_returns_own_events_in_order_and_skips_past_foreign_ones(
    log: EventLog,
) -> None:
    await append(log, ("order/a", 1), ("order/a", 2))
    await append(log, ("order/x", 1), source="/billing/elsewhere")
    first = await log.unpublished(SOURCE, [1, 2], limit=1)
    assert [row.position for row in first[1].events] == [1]
    [own] = first[1].events
    assert first[1].through == LogEnd(1, own.hash)
    await log.mark_published({1: first[1].through})
    rest = await log.unpublished(SOURCE, [1, 2], limit=10)
    assert [row.position for row in rest[1].events] == [2]
    assert rest[1].through == (await log.ends())[1]
    await log.mark_published({1: rest[1].through})
    await log.mark_published({1: first[1].through})
    assert await log.unpublished(SOURCE, [1, 2], limit=10) == {}


@pytest.mark.parametrize("others", [0, 1, 2, 5], ids=["lower", "below", "equal", "higher"])
async def test_end_is_not_believed_of_a_log_that_has_another_event_there_or_none(
    log: EventLog, database: str | None, others: int
) -> None:
    await events(log, "kept", 1)
    await events(log, "other", 2, OTHER)
    put_back = await kept(log, database)
    await events(log, "lost", 2)
    ends = await log.ends()
    await put_back()
    if others:
        await events(log, "new", others)
    [_, there] = [(await log.ends())[shard] for shard in (OTHER, SHARD)]

    found = await log.unpublished(SOURCE, [SHARD, OTHER], limit=10, acknowledged=ends)
    await log.mark_published(ends)

    assert list(found) == [SHARD]
    assert (found[SHARD].lost, found[SHARD].events, found[SHARD].through) == (True, [], there)
    assert await log.publishing([SHARD, OTHER]) == {SHARD: (0, 1 + others), OTHER: (2, 2)}


async def test_what_follows_an_end_that_is_held_is_to_be_published(log: EventLog) -> None:
    await events(log, "a", 2)
    ends = await log.ends()
    await events(log, "b", 3)

    found = await log.unpublished(SOURCE, [SHARD], limit=2, acknowledged=ends)

    assert not found[SHARD].lost
    assert [each.position for each in found[SHARD].events] == [3, 4]
    assert found[SHARD].through == LogEnd(4, found[SHARD].events[-1].hash)
    assert await log.publishing([SHARD]) == {SHARD: (2, 5)}


async def test_beginning_is_held_by_every_log(log: EventLog) -> None:
    beginning = {SHARD: LogEnd(0, GENESIS_HASH)}
    assert await log.unpublished(SOURCE, [SHARD], limit=2, acknowledged=beginning) == {}
    await events(log, "a", 1)
    found = await log.unpublished(SOURCE, [SHARD], limit=2, acknowledged=beginning)
    assert [each.position for each in found[SHARD].events] == [1]


async def test_end_is_marked_of_a_shard_that_nobody_asked_about(log: EventLog) -> None:
    await events(log, "a", 2)
    assert await log.unpublished(SOURCE, [OTHER], limit=2, acknowledged=await log.ends()) == {}
    assert await log.publishing([SHARD]) == {SHARD: (2, 2)}


ARCHIVE = (
    "INSERT INTO archived_range (shard, first_position, last_position, previous_hash, last_hash,"
    " last_sequence, file, file_sha256) SELECT shard, 1, $2, $3, hash, sequence, 'f', '' FROM event"
    " WHERE shard = $1 AND position = $2"
)


async def archive(dsn: str, last_position: int) -> None:
    """Have the events of the shard leave up to `last_position`."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "orders"})
    try:
        await connection.execute(ARCHIVE, SHARD, last_position, GENESIS_HASH)
        await connection.execute(
            "DELETE FROM event WHERE shard = $1 AND position <= $2", SHARD, last_position
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
async def test_end_that_left_for_a_file_is_held_and_not_another_one_at_its_place(
    log: EventLog, database: str
) -> None:
    await events(log, "a", 4)
    hashes = {at: (await log.hashes_at({SHARD: at}))[SHARD] for at in (2, 3)}
    await log.mark_published(await log.ends())
    await archive(database, 3)

    def told(position: int, hash_: bytes) -> dict[int, LogEnd]:
        return {SHARD: LogEnd(position, hash_)}

    async def lost(told: dict[int, LogEnd]) -> bool:
        found = await log.unpublished(SOURCE, [SHARD], limit=9, acknowledged=told)
        return SHARD in found and found[SHARD].lost

    assert not await lost(told(3, hashes[3]))
    assert not await lost(told(2, hashes[2]))
    assert await lost(told(3, hashes[2]))
    assert await log.publishing([SHARD]) == {SHARD: (4, 4)}


@pytest.mark.parametrize("others", [0, 3, 5], ids=["lower", "equal", "higher"])
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
async def test_backup_from_before_an_archive_does_not_hold_what_came_after_it(
    log: EventLog, database: str, others: int
) -> None:
    await events(log, "kept", 2)
    put_back = await kept(log, database)
    await events(log, "lost", 3)
    ends = await log.ends()
    await log.mark_published(ends)
    await archive(database, 4)
    assert await log.unpublished(SOURCE, [SHARD], limit=9, acknowledged=ends) == {}

    await put_back()
    if others:
        await events(log, "new", others)

    found = await log.unpublished(SOURCE, [SHARD], limit=9, acknowledged=ends)
    assert (found[SHARD].lost, found[SHARD].events) == (True, [])
    assert await log.publishing([SHARD]) == {SHARD: (0, 2 + others)}

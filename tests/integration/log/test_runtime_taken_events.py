"""Which event bore which number is known for as long as the event can come again, and no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from services.runtime.errors import Park
from services.runtime.flow.intake.ordering import SEQUENCE_CONFLICT
from services.runtime.log.taken_events import SEGMENTS_OUTLIVE, TakenEvents
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import Toy, low_balance

BATCHES = 12


RETENTION = timedelta(days=30)


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    async with open_toy_database(fresh_database, Toy()) as database:
        for n in range(BATCHES):
            await database.intake.handle([low_balance(2 * n + 1), low_balance(2 * n + 2)])
        yield database


async def aged(admin_dsn: str, batches: int) -> None:
    """Have the first batches be taken longer ago than anything is kept."""
    connection = await asyncpg.connect(admin_dsn, server_settings={"search_path": "orders"})
    try:
        await connection.execute(
            "UPDATE taken_event SET taken_at = taken_at - $1::interval WHERE last_sequence <= $2",
            RETENTION + SEGMENTS_OUTLIVE + timedelta(minutes=1),
            2 * batches,
        )
    finally:
        await connection.close()


async def remembered(toys: ToyDatabase) -> list[int]:
    rows = await toys.pool.fetch("SELECT last_sequence FROM taken_event ORDER BY 1")
    return [row[0] for row in rows]


async def test_what_the_topic_holds_no_longer_is_forgotten_in_slices(
    toys: ToyDatabase, fresh_database: str
) -> None:
    taken = TakenEvents(toys.pool, RETENTION)
    assert await taken.forget() == 0
    await aged(fresh_database, 8)
    assert [await taken.forget(rows=3) for _ in range(4)] == [3, 3, 2, 0]
    assert await remembered(toys) == [18, 20, 22, 24]


async def test_repeats_are_told_from_others_where_they_can_come_again(
    toys: ToyDatabase, fresh_database: str
) -> None:
    await aged(fresh_database, 8)
    while await TakenEvents(toys.pool, RETENTION).forget():
        pass
    result = await toys.intake.handle([low_balance(1, offset=24), low_balance(20, offset=25)])
    assert result.outcomes == {"ignored:duplicate_sequence": 2}
    with pytest.raises(Park) as parked:
        await toys.intake.handle([low_balance(20, offset=26, name="another")])
    assert parked.value.reason == SEQUENCE_CONFLICT


async def test_last_event_of_a_source_that_is_silent_is_never_forgotten(
    toys: ToyDatabase, fresh_database: str
) -> None:
    await aged(fresh_database, BATCHES)
    while await TakenEvents(toys.pool, RETENTION).forget():
        pass
    assert await remembered(toys) == [2 * BATCHES]

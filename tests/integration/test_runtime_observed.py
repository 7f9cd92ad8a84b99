"""What the gauges say of a real database in each state it can be in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.kafka.held_back import HeldBack
from services.runtime.watch.observed import DatabaseView, Observer
from tests.controls import settings_for

SHARDS = 2
_EFFECT = (
    "INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id,"
    " correlation_id, payload, hold_key, due_at, attempt, lease_until, started_at)"
    " VALUES (0, $1, 'charge', 'acct-1', 'order/1', gen_random_uuid(), 'c', '{}', $2,"
    " now() + $3 * interval '1 s', $4, now() + $5 * interval '1 s', now() - interval '600 s')"
)
_EVENT = (
    "INSERT INTO event (shard, position, stream_id, stream_version, event_id, source, type,"
    " sequence, account_id, correlation_id, occurred_at, recorded_at, body, hash)"
    " VALUES (0, $1, 'order/1', $1, gen_random_uuid(), 's', 't', $1, 'acct-1', 'c', now(),"
    " now() - $2 * interval '1 s', '', '')"
)
_LETTER = (
    "INSERT INTO dead_letter (topic, partition, record_offset, record_headers, reason, detail,"
    " attempts, dead_lettered_at, published_at, closed_at, closed_as) VALUES ('t', 0, $1, '[]', $2,"
    " '', 1, now() - interval '90 s', now(), $3, $4)"
)


@pytest.fixture
async def pool(fresh_database: str) -> AsyncIterator[asyncpg.Pool]:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    settings = settings_for(fresh_database, role="perennial_orders:secret")
    opened = await open_pool("orders", settings)
    yield opened
    await opened.close()


async def seen(pool: asyncpg.Pool) -> DatabaseView:
    observer = Observer(
        pool=pool,
        consumer=lambda: None,
        partitions=frozenset,
        held_back=HeldBack(time.monotonic),
        monotonic=time.monotonic,
    )
    view = (await observer.look()).database
    assert view is not None
    return view


async def test_effect_is_in_the_state_that_says_what_it_waits_for(pool: asyncpg.Pool) -> None:
    effects: list[tuple[Any, ...]] = [
        ("held", "order/1", 3600, 0, None),
        ("held without end", "order/1", None, 0, None),
        ("held too long", "order/1", -60, 0, None),
        ("running", None, -5, 1, 30),
        ("worker is gone", None, -40, 1, -10),
        ("retrying", None, 30, 2, None),
        ("scheduled", None, 30, 0, None),
    ]
    for effect in effects:
        await pool.execute(_EFFECT, *effect)

    view = await seen(pool)

    found = {row["state"]: (row["effects"], round(row["age_seconds"], -1)) for row in view.effects}
    assert found == {
        "held": (2, 600),
        "due": (2, 600),
        "running": (1, 600),
        "retrying": (1, 600),
        "scheduled": (1, 600),
    }
    [due] = [row for row in view.effects if row["state"] == "due"]
    assert 60 <= due["overdue_seconds"] < 90


async def test_age_of_an_effect_outlasts_its_retries(pool: asyncpg.Pool) -> None:
    await pool.execute(_EFFECT, "late", None, -100, 1, 30)
    await pool.execute("UPDATE effect SET due_at = now() + interval '1 h', lease_until = NULL")

    [row] = (await seen(pool)).effects

    assert (row["state"], round(row["age_seconds"], -1)) == ("retrying", 600)


async def test_age_of_what_is_unpublished_is_that_of_the_first_such_event(
    fresh_database: str, pool: asyncpg.Pool
) -> None:
    owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "orders"})
    # No chain, so nothing moves the head.
    await owner.execute("SET session_replication_role = replica")
    for position, age_seconds in ((1, 500), (2, 300), (3, 100)):
        await owner.execute(_EVENT, position, age_seconds)
    await owner.execute(
        "UPDATE shard SET head_position = 3, published_position = 1 WHERE shard = 0"
    )
    await owner.close()

    rows = {row["shard"]: row for row in (await seen(pool)).shards}

    assert 300 <= rows[0]["unpublished_seconds"] < 330
    assert (rows[0]["head_position"], rows[0]["published_position"]) == (3, 1)
    assert rows[1]["unpublished_seconds"] is None


async def test_closed_dead_letters_are_not_counted(pool: asyncpg.Pool) -> None:
    now = await pool.fetchval("SELECT now()")
    for offset, letter in enumerate(
        [("a", None, None), ("a", None, None), ("b", None, None), ("a", now, "discarded")]
    ):
        await pool.execute(_LETTER, offset, *letter)

    view = await seen(pool)

    assert [(row["reason"], row["letters"]) for row in view.dead_letters] == [("a", 2), ("b", 1)]
    assert 90 <= view.dead_letters[0]["age_seconds"] < 120

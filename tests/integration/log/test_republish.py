"""`perennial recover republish`: from which position each shard of a stopped service publishes again."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.records.partitions import shard_of
from tests.controls import dsn_for
from tests.integration.orders.orders_database import ROLE, SHARDS, Orders, owner_of

ACCOUNTS = {shard_of(name, SHARDS): name for name in ("acct-1", "acct-2", "acct-3", "acct-4")}
"""One of each shard."""
EVENTS = 3
"""Of an order that is paid by token and becomes active."""
Plan = list[list[int]]


@pytest.fixture
async def stopped(fresh_database: str, orders: Orders, monkeypatch: pytest.MonkeyPatch) -> Orders:
    """Return orders that published two orders in shard 0 and one in shard 1, and has stopped."""
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_ORDERS_POSTGRES_DSN", dsn_for(fresh_database, ROLE))
    await orders.buy("ren-1", "ren-2", account_id=ACCOUNTS[0])
    await orders.buy("ren-3", account_id=ACCOUNTS[1])
    await orders.publish()
    await orders.stop()
    await orders.pool.close()
    return orders


async def republish(*positions: str, yes: bool = False) -> Result:
    options = [part for each in positions for part in ("--from-position", each)]
    arguments = ["recover", "republish", "orders", *options, *(["--yes"] if yes else [])]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


def planned(result: Result) -> Plan:
    """Return shard, after, to and events of each row of the table."""
    assert result.exit_code == 0, result.output
    rows = [line.replace("│", " ").split() for line in result.output.splitlines() if "│" in line]
    return [[int(cell) for cell in row] for row in rows]


async def published(orders: Orders) -> list[int]:
    owner = await owner_of(orders.admin_dsn)
    try:
        rows = await owner.fetch("SELECT published_position FROM shard ORDER BY shard")
    finally:
        await owner.close()
    return [row["published_position"] for row in rows]


@pytest.mark.parametrize(
    ("positions", "plan"),
    [
        ((), [[0, 0, 6, 6], [1, 0, 3, 3]]),
        (("3",), [[0, 2, 6, 4], [1, 2, 3, 1]]),
        (("5",), [[0, 4, 6, 2]]),
        (("0:5",), [[0, 4, 6, 2]]),
        (("1:3",), [[1, 2, 3, 1]]),
        (("0:5", "1:2"), [[0, 4, 6, 2], [1, 1, 3, 2]]),
        (("1:3", "2"), [[0, 1, 6, 5], [1, 2, 3, 1]]),
    ],
)
async def test_shard_starts_where_it_is_told_and_what_is_not_named_where_all_do(
    stopped: Orders, positions: tuple[str, ...], plan: Plan
) -> None:
    assert planned(await republish(*positions)) == plan
    assert await published(stopped) == [6, 3]
    assert planned(await republish(*positions, yes=True)) == plan
    moved = {shard: after for shard, after, _, _ in plan}
    assert await published(stopped) == [moved.get(0, 6), moved.get(1, 3)]


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("positions", "told"),
    [
        (("2:1",), "there is no shard 2: name 0 to 1"),
        (("0:7",), "shard 0 has positions 1 to 6"),
        (("0:1", "0:2"), "shard 0 is named twice"),
        (("1", "2"), "one position for all"),
    ],
)
async def test_what_no_shard_can_do_is_refused_and_nothing_moves(
    positions: tuple[str, ...], told: str
) -> None:
    refused = await republish(*positions, yes=True)
    assert isinstance(refused.exception, ConfigurationError)
    assert told in str(refused.exception)


@pytest.mark.usefixtures("stopped")
async def test_what_is_archived_is_named_with_where_each_shard_can_begin(
    stopped: Orders,
) -> None:
    owner = await owner_of(stopped.admin_dsn)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE shard SET archived_position = 4 - shard")
    await owner.close()

    refused = await republish()

    assert isinstance(refused.exception, ConfigurationError)
    told = str(refused.exception)
    assert "positions up to 4 are archived" in told
    assert "--from-position 0:5" in told
    assert planned(await republish("0:5")) == [[0, 4, 6, 2]]

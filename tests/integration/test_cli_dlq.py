"""`perennial dlq` on a real database: what an operator sees, asks for and closes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.runtime.errors import Poison
from tests.controls import dsn_for
from tests.integration.toy_database import ROLE, ToyDatabase, hostile, open_toy_database
from tests.unit.runtime.toy import Toy, request

PERSONAL = ("lin@example.org", "tok_secret", "acct-1")


@pytest.fixture
async def toys(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ToyDatabase]:
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_ORDERS_POSTGRES_DSN", dsn_for(fresh_database, ROLE))
    monkeypatch.setenv("COLUMNS", "200")
    toy = Toy(troubles={14: Poison("unlucky", "use another amount")})
    async with open_toy_database(fresh_database, toy) as database:
        await database.dead_letter(request(0, amount=14), hostile(1))
        yield database


async def dlq(*arguments: str) -> Result:
    """Run the command beside the loop of the test."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["dlq", *arguments])


async def ids(toys: ToyDatabase) -> list[str]:
    return [str(letter.dead_letter_id) for letter in await toys.box.listed()]


async def listed(*arguments: str) -> list[dict[str, Any]]:
    result = await dlq("list", "--json", *arguments)
    assert result.exit_code == 0
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


async def test_list_shows_where_each_record_is_and_why_oldest_first(toys: ToyDatabase) -> None:
    result = await dlq("list")
    assert result.exit_code == 0
    assert result.stdout.index("unlucky") < result.stdout.index("header_null")
    assert "billing.requests.v1" in result.stdout
    assert "2 dead letters of orders" in result.stdout
    assert await ids(toys)


async def test_list_as_json_is_for_programs(toys: ToyDatabase) -> None:
    first, second = await listed()
    assert [str(first["id"]), str(second["id"])] == await ids(toys)
    assert (first["topic"], first["offset"]) == ("billing.requests.v1", 0)
    assert (first["reason"], first["detail"]) == ("unlucky", "use another amount")
    assert (first["state"], first["attempts"]) == ("open", 1)


async def test_list_of_nothing_is_an_empty_list(toys: ToyDatabase) -> None:
    for dead_letter_id in await ids(toys):
        assert (await dlq("discard", dead_letter_id, "--reason", "a test")).exit_code == 0
    assert await listed() == []
    assert "0 dead letters of orders" in (await dlq("list")).stdout
    assert [each["state"] for each in await listed("--closed")] == ["discarded"] * 2


async def test_neither_list_nor_show_prints_personal_data(toys: ToyDatabase) -> None:
    outputs = [(await dlq("list")).output, (await dlq("list", "--json")).output]
    outputs += [(await dlq("show", each)).output for each in await ids(toys)]
    assert all(outputs)
    for secret in PERSONAL:
        assert not [output for output in outputs if secret in output]


async def test_show_tells_why_and_reveals_the_record_only_when_asked(toys: ToyDatabase) -> None:
    first, second = await ids(toys)
    shown = json.loads((await dlq("show", first)).stdout)
    assert shown["detail"] == "use another amount"
    assert "value" not in shown
    revealed = json.loads((await dlq("show", first, "--reveal")).stdout)
    assert json.loads(revealed["value"])["topup_id"] == "t-1"
    assert revealed["key"] == "acct-1"
    revealed = json.loads((await dlq("show", second, "--reveal")).stdout)
    assert revealed["value"].startswith("base64:")
    assert ["ce_id", None] in revealed["headers_base64"]


@pytest.mark.parametrize(
    "command", [["show"], ["redrive"], ["discard", "--reason", "sent by mistake"]]
)
async def test_unknown_number_fails_and_says_where_to_look(
    toys: ToyDatabase, command: list[str]
) -> None:
    assert "4711" not in await ids(toys)
    result = await dlq(*command, "4711")
    assert result.exit_code == 1
    assert "dead letter 4711 in orders" in result.stderr
    assert "perennial dlq list" in result.stderr


async def test_redrive_waits_for_the_running_service_and_tells_each_outcome(
    toys: ToyDatabase,
) -> None:
    first, second = await ids(toys)
    toys.toy.troubles = {}
    async with toys.redriving():
        result = await dlq("redrive", "--all")
    assert result.exit_code == 1
    assert f"{first}: redriven (applied)" in result.stdout
    assert f"{second}: open (a ce_ header or content-type is null" in result.stdout
    assert await toys.count("order/t-1") == 1
    assert [str(each["id"]) for each in await listed()] == [second]


async def test_redrive_of_one_leaves_the_others_alone(toys: ToyDatabase) -> None:
    first, second = await ids(toys)
    toys.toy.troubles = {}
    async with toys.redriving():
        result = await dlq("redrive", first)
    assert result.exit_code == 0
    [left] = await listed()
    assert (str(left["id"]), left["attempts"]) == (second, 1)


async def test_redrive_without_a_running_service_says_that_it_is_only_asked_for(
    toys: ToyDatabase,
) -> None:
    [first, _] = await ids(toys)
    result = await dlq("redrive", first, "--wait-seconds", "1")
    assert result.exit_code == 1
    assert f"{first}: redrive asked" in result.stdout


async def test_redrive_wants_numbers_or_all(toys: ToyDatabase) -> None:
    assert await ids(toys)
    result = await dlq("redrive")
    assert result.exit_code == 2
    assert "--all" in result.stderr


async def test_discard_closes_with_the_reason_and_keeps_the_record(toys: ToyDatabase) -> None:
    first, second = await ids(toys)
    result = await dlq("discard", first, "--reason", "sent by mistake")
    assert result.exit_code == 0
    kept = await toys.box.one(int(first))
    assert kept is not None
    assert (kept.closed_as, kept.closed_note) == ("discarded", "sent by mistake")
    assert kept.value is not None
    assert [str(each["id"]) for each in await listed()] == [second]
    again = await dlq("discard", first, "--reason", "once more")
    assert again.exit_code == 1
    assert f"no open dead letter {first}" in again.stderr


async def test_discard_wants_a_reason(toys: ToyDatabase) -> None:
    [first, _] = await ids(toys)
    result = await dlq("discard", first)
    assert result.exit_code == 2
    assert "--reason" in result.stderr
    assert len(await ids(toys)) == 2

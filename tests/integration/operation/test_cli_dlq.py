"""`perennial dlq` on a real database: what an operator sees, asks for and closes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.runtime.errors import Poison
from services.runtime.flow.letters.dead_letters import Chosen
from tests.controls import dsn_for
from tests.integration.toy_database import ROLE, ToyDatabase, hostile, open_toy_database
from tests.unit.runtime.toy import Toy, low_balance, request

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


async def test_discard_and_redrive_of_nothing_say_so_and_fail(toys: ToyDatabase) -> None:
    assert toys
    for command in ("discard", "redrive"):
        result = await dlq(command, "--reason", "no_such_reason")
        assert result.exit_code == 1
        assert "no open dead letter of orders matches: nothing was" in result.output


async def test_one_letter_is_counted_as_one(toys: ToyDatabase) -> None:
    assert toys
    result = await dlq("discard", "--reason", "unlucky")
    assert "1 dead letter of orders discarded, 0 counted ones forgotten" in result.stdout


@pytest.mark.parametrize("command", ["list", "summary"])
async def test_unknown_service_is_named_with_those_that_are(
    toys: ToyDatabase, command: str
) -> None:
    assert toys
    result = await dlq(command, "--service", "billing")
    assert "there is no service billing: name orders, ledger, notifier" in str(result.exception)


async def ids(toys: ToyDatabase) -> list[str]:
    return [str(letter.dead_letter_id) for letter in await toys.letters.listed()]


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
    assert result.stdout == f"dead letter {first} of orders discarded\n"
    assert result.exit_code == 0
    kept = await toys.letters.one(int(first))
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


async def flood(toys: ToyDatabase, count: int, *, source: str = "/upstream/mad") -> None:
    """Add letters of one source, and say that as many more overflowed."""
    await toys.pool.execute(
        "INSERT INTO dead_letter (topic, partition, record_offset, record_value, record_headers,"
        " reason, detail, attempts, dead_lettered_at, source) SELECT 'billing.requests.v1', 1,"
        " n + 1000000 * length($2),"
        " convert_to(repeat(md5(n::text), 60), 'UTF8'), '[]', 'body_invalid', '', 1,"
        " '2026-11-20T08:00:00Z'::timestamptz + make_interval(secs => n), $2"
        " FROM generate_series(1, $1::int) AS n",
        count,
        source,
    )
    await toys.pool.execute(
        "INSERT INTO dead_letter_overflow VALUES ('billing.requests.v1', $2, 'body_invalid',"
        " '2026-11-20', $1, '2026-11-20T09:00:00Z', 1, 7)",
        count,
        source,
    )


async def test_ten_thousand_of_one_source_are_discarded_in_two_seconds(toys: ToyDatabase) -> None:
    await flood(toys, 10_000)
    letters, chosen = toys.letters, Chosen("body_invalid", "/upstream/mad", None, None)
    started = time.monotonic()
    assert await letters.discard_matching(chosen, "a flood") == (10_000, 10_000)
    assert time.monotonic() - started < 2
    assert [letter.reason for letter in await letters.listed()] == ["unlucky", "header_null"]
    kept = await toys.pool.fetchval(
        "SELECT count(*) FROM dead_letter WHERE closed_note = 'a flood'"
    )
    assert kept == 10_000


async def test_bulk_discard_takes_what_all_filters_choose_and_summary_counts_the_rest(
    toys: ToyDatabase,
) -> None:
    await flood(toys, 60)
    await flood(toys, 5, source="/upstream/other")
    result = await dlq(
        *("discard", "--reason", "body_invalid", "--source", "/upstream/mad"),
        *("--until", "2026-11-20T08:00:40Z", "--note", "an old client"),
    )
    assert result.exit_code == 0
    assert "40 dead letters of orders discarded, 0 counted ones forgotten" in result.stdout
    rows = json.loads((await dlq("summary", "--json")).stdout)
    found = {(row["source"], row["reason"]): (row["kept"], row["overflow"]) for row in rows}
    assert found["/upstream/mad", "body_invalid"] == (20, 60)
    assert found["/upstream/other", "body_invalid"] == (5, 5)
    assert found["/upstream/toys", "unlucky"] == (1, 0)
    told = (await dlq("list", "--limit", "3")).stdout
    assert "27 are open, and 65 more are on the dead-letter topic alone" in told
    assert "/upstream/mad" in (await dlq("summary")).stdout


async def test_bulk_discard_spares_our_own_events_unless_their_topic_is_named(
    toys: ToyDatabase,
) -> None:
    forged = low_balance(1, offset=0).having("ce_source", b"/upstream/toys")
    await toys.dead_letter(forged)
    reason = "source_not_allowed"
    assert (await dlq("discard", "--reason", reason)).exit_code == 1
    assert reason in {letter.reason for letter in await toys.letters.listed()}
    assert (await dlq("discard", "--topic", "billing.ledger.v1")).exit_code == 0
    assert reason not in {letter.reason for letter in await toys.letters.listed()}


async def test_bulk_discard_of_everything_is_not_offered(toys: ToyDatabase) -> None:
    assert (await dlq("discard")).exit_code == 2
    assert len(await ids(toys)) == 2


async def test_redrive_by_reason_takes_those_alone(toys: ToyDatabase) -> None:
    toys.toy.troubles = {}
    async with toys.redriving():
        result = await dlq("redrive", "--reason", "unlucky", "--source", "/upstream/toys")
    assert result.exit_code == 0
    assert "redriven (applied)" in result.stdout
    assert [each["reason"] for each in await listed()] == ["header_null"]

"""What a turn asks the database: a round trip costs more than most of what it asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.runtime.effect import Release, Start
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import Toy, request

TURN = ["BEGIN", "SELECT * FROM lock_turn", "SELECT effect.shard", "COMMIT"]


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    """Return a toy whose every request starts an effect, holds one and frees another."""
    effects = (Start("greet/1", "greet"), Start("hold/1", "greet", hold_key="h"), Release("h"))
    toy = Toy(effects=lambda command: effects if command.amount == 5 else ())
    async with open_toy_database(fresh_database, toy) as toys:
        yield toys


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is sent to the database from now on."""
    sent: list[str] = []

    def note(name: str) -> None:
        original = getattr(asyncpg.Connection, name)

        def noted(self: asyncpg.Connection, query: str, *rest: Any, **options: Any) -> Any:
            sent.append(query.partition(";")[0])
            return original(self, query, *rest, **options)

        monkeypatch.setattr(asyncpg.Connection, name, noted)

    for name in ("execute", "_execute", "_executemany", "copy_records_to_table"):
        note(name)
    return sent


def begins(statements: list[str]) -> list[str]:
    return [next((begin for begin in TURN if each.startswith(begin)), each) for each in statements]


async def test_turn_takes_two_calls_in_a_transaction(
    toys: ToyDatabase, statements: list[str]
) -> None:
    first = await toys.intake.handle([request(0)])
    statements.clear()
    result = await toys.intake.handle([request(1, amount=6)])
    assert (first.events, result.events) == (1, 1)
    assert [effect.run.effect_id for effect in first.leased] == ["greet/1", "hold/1"]
    assert begins(statements) == TURN


async def test_turn_that_opens_a_stream_looks_for_it_first(
    toys: ToyDatabase, statements: list[str]
) -> None:
    await toys.intake.handle([request(0, amount=6)])
    statements.clear()
    await toys.intake.handle([request(1, amount=6, topup_id="t-2")])
    assert len(statements) == len(TURN) + 1
    assert [*begins(statements)[:2], *begins(statements)[3:]] == TURN
    assert " FROM event " in statements[2]


async def test_many_events_are_copied(toys: ToyDatabase, statements: list[str]) -> None:
    requests = [request(number, amount=6, topup_id=f"t-{number}") for number in range(33)]
    result = await toys.intake.handle(requests)
    assert result.events == len(requests)
    assert statements.count("event") == 1
    assert await toys.pool.fetchval("SELECT count(*) FROM event") == len(requests)


async def test_turn_that_decides_nothing_writes_nothing(
    toys: ToyDatabase, statements: list[str]
) -> None:
    await toys.intake.handle([request(0)])
    statements.clear()
    result = await toys.intake.handle([request(0)])
    assert result.outcomes == {"ignored:duplicate_offset": 1}
    assert begins(statements) == ["BEGIN", "SELECT * FROM lock_turn", "COMMIT"]

"""How much of what effects bring is under way before the intake has to wait."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime.effect import EffectRun, Start
from services.runtime.processor import Decision, Mark
from tests.unit.runtime.greetings import GREETED, World
from tests.unit.runtime.toy import Done, counted


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.runner.BACKLOG_MAX", 1)


async def test_backlog_at_its_limit_holds_up_the_intake_until_there_is_room() -> None:
    gate = asyncio.Event()

    async def greet(_run: EffectRun, _mark: Mark) -> object:
        await gate.wait()
        return Done(GREETED)

    world = World(greet)
    async with world.running() as runner:
        await runner.room()
        runner.submit(await world.count())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runner.room(), 0.05)
        gate.set()
        await asyncio.wait_for(runner.room(), 5)


async def test_what_follows_an_effect_takes_its_place_before_the_intake_is_let_in() -> None:
    second_began, gate = asyncio.Event(), asyncio.Event()

    async def greet(run: EffectRun, _mark: Mark) -> object:
        if run.effect_id == "greet/t-1":
            return Done(Decision((counted(),), (Start("greet/second", "greet"),)))
        second_began.set()
        await gate.wait()
        return Done(GREETED)

    world = World(greet)
    async with world.running() as runner:
        runner.submit(await world.count())
        let_in = asyncio.create_task(runner.room())
        await asyncio.wait_for(second_began.wait(), 5)
        await asyncio.sleep(0.05)
        assert not let_in.done()
        gate.set()
        await asyncio.wait_for(let_in, 5)

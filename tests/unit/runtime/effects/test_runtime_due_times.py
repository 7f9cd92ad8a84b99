"""When the table of effects is looked at: at the times that are known, and seldom without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.runtime.clock.database_clock import TimeDisputed
from services.runtime.effect import EffectRun, Retry, Start
from services.runtime.flow.effects.due_times import NEAR, DueTimes
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import EffectOrigin
from services.runtime.processor import Decision, Mark
from tests.controls import T0
from tests.unit.runtime.greetings import GREETED, Greeter, World
from tests.unit.runtime.toy import ACCOUNT, SHARD, Done, counted

ORIGIN = EffectOrigin(SHARD, ACCOUNT, "order/t-1", UUID(int=1), "t-1", None)
SOON = 0.2


@pytest.fixture(autouse=True)
def nobody_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", 60)


class Clock:
    """A clock that runs from T0 on."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self) -> datetime:
        return T0 + timedelta(seconds=time.monotonic() - self.began)


def started(*seconds: float, hold_key: str | None = None) -> Recorded:
    """Return effects that are due so long after T0."""
    due = (T0 + timedelta(seconds=each) for each in seconds)
    starts = [Start(f"e-{at}", "greet", due_at=at, hold_key=hold_key) for at in due]
    return Recorded(starts=[(ORIGIN, start) for start in starts])


def retried(*seconds: float) -> Recorded:
    return Recorded(
        retries=[((SHARD, "e"), Retry(T0 + timedelta(seconds=each))) for each in seconds]
    )


async def waited(due: DueTimes, clock: Clock) -> float:
    """Return the time at which the next wait ends."""
    await asyncio.wait_for(due.wait(), 5)
    return (clock() - T0).total_seconds()


@pytest.mark.parametrize(
    "recorded",
    [started(SOON), started(9, SOON, 7), started(SOON, hold_key="door"), retried(8, SOON)],
    ids=["start", "first of several", "held", "retry"],
)
async def test_the_wait_ends_when_the_first_effect_is_due(recorded: Recorded) -> None:
    clock = Clock()
    due = DueTimes(clock)
    due.note(recorded)
    assert SOON <= await waited(due, clock) < SOON + 1


async def test_effect_that_is_due_sooner_than_what_is_waited_for_ends_the_wait() -> None:
    clock = Clock()
    due = DueTimes(clock)
    due.note(started(50))
    asyncio.get_running_loop().call_later(SOON, due.note, started(2 * SOON))
    assert 2 * SOON <= await waited(due, clock) < 2 * SOON + 1


async def test_times_that_have_come_are_forgotten_and_others_are_not() -> None:
    clock = Clock()
    due = DueTimes(clock)
    due.note(started(0.001, 0.002, SOON))
    due.forget(T0 + timedelta(seconds=0.002))
    assert SOON <= await waited(due, clock) < SOON + 1


async def test_what_was_due_before_its_commit_is_looked_for_at_once() -> None:
    clock = Clock()
    due = DueTimes(clock)
    due.note(started(-1))
    assert await waited(due, clock) < 1


@pytest.mark.parametrize(
    "recorded",
    [
        Recorded(),
        started(NEAR.total_seconds() + 5),
        Recorded(starts=[(ORIGIN, Start("e", "greet", hold_key="door"))]),
        Recorded(retries=[((SHARD, "e"), Retry(None, hold_key="door"))]),
    ],
    ids=["nothing", "far", "held without a time", "retry without a time"],
)
async def test_without_a_near_time_the_wait_ends_when_it_is_time_to_poll(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", SOON)
    clock = Clock()
    due = DueTimes(clock)
    due.note(recorded)
    assert SOON <= await waited(due, clock) < SOON + 1


async def test_effect_that_runs_already_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", SOON)
    clock = Clock()
    due = DueTimes(clock)
    world = World(Greeter(), Start("greet/t-1", "greet", due_at=T0))
    leased = await world.count()
    start = Start("greet/t-1", "greet", due_at=T0)
    due.note(Recorded(starts=[(leased[0].origin, start)], leased=leased))
    assert await waited(due, clock) >= SOON


async def test_while_it_is_not_known_what_time_it_is_there_is_the_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", SOON)
    running = Clock()
    disputed = False

    def clock() -> datetime:
        if disputed:
            message = "nobody knows"
            raise TimeDisputed(message)
        return running()

    due = DueTimes(clock)
    due.note(started(0.01))
    disputed = True
    due.note(started(0.01))
    assert SOON <= await waited(due, running) < SOON + 1


class Ticking(World):
    """A world whose clock runs."""

    clock = Clock()

    @property
    def now(self) -> datetime:
        return self.clock()

    @now.setter
    def now(self, _: datetime) -> None:
        self.clock = Clock()


async def test_retry_runs_when_it_is_due_though_nobody_polls() -> None:
    again = Decision((counted(),), (Retry(T0 + timedelta(seconds=2 * SOON)),))
    greeter = Greeter(again, GREETED)
    world = Ticking(greeter)
    async with world.running() as runner:
        runner.submit(await world.count())
        await asyncio.wait_for(world.until_events(3), 5)
        assert world.now >= T0 + timedelta(seconds=2 * SOON)
    assert [run.attempt for run in greeter.runs] == [1, 2]


async def test_more_that_is_due_than_is_taken_at_once_is_taken_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.runner.LEASED_PER_POLL_MAX", 2)
    starts = [Start(f"greet/{n}", "greet") for n in range(5)]
    world = World(greet, *starts)
    await world.count()  # leased to a process that dies before it runs them
    world.now += timedelta(seconds=61)
    async with world.running():
        await asyncio.wait_for(world.until_events(6), 5)


async def test_retry_that_is_polled_before_its_result_is_dealt_with_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greeter = Greeter(Decision((counted(),), (Retry(T0),)), GREETED)
    world = World(greeter)
    transaction = world.log.transaction

    @asynccontextmanager
    async def answered_late(**locked: Any) -> AsyncIterator[Any]:
        async with transaction(**locked) as tx:
            yield tx
        world.runners[0].submit(await world.log.lease_due_effects(now=T0, limit=9))

    async with world.running() as runner:
        leased = await world.count()
        monkeypatch.setattr(world.log, "transaction", answered_late)
        runner.submit(leased)
        await asyncio.wait_for(until_ran(greeter, 2), 5)
    assert [(run.attempt, run.recovered) for run in greeter.runs] == [(1, False), (2, False)]


async def until_ran(greeter: Greeter, times: int) -> None:
    while len(greeter.runs) < times:  # noqa: ASYNC110 - an executor gives no signal
        await asyncio.sleep(0.01)


async def greet(_run: EffectRun, _mark: Mark) -> object:
    return Done(GREETED)

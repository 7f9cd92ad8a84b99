"""Effects run outside of transactions, and what becomes of their results."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.runtime.effect import Drop, EffectRun, Release, Retry, Start
from services.runtime.errors import Transient
from services.runtime.processor import Decision, Mark
from tests.controls import T0
from tests.unit.runtime.greetings import GREETED, STREAM, Greeter, World
from tests.unit.runtime.toy import (
    Count,
    Done,
    Toy,
    begin,
    counted,
    intake_of,
    request,
    streams_of,
    until,
)


@pytest.fixture(autouse=True)
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", 0.01)


async def test_result_of_an_effect_is_recorded_in_its_stream_and_its_row_is_gone() -> None:
    greeter = Greeter(GREETED)
    world = World(greeter)
    async with world.running() as runner:
        runner.submit(await world.count())
        await world.until_events(2)
    assert [(run.attempt, run.recovered, run.payload) for run in greeter.runs] == [
        (1, False, {"step": 1})
    ]
    assert not await world.waiting()
    assert world.recorded == 1
    async with world.log.transaction() as tx:
        first, second = (await tx.load_streams([STREAM]))[STREAM]
    assert second.causation_id == first.causation_id
    assert second.correlation_id == "t-1"


async def test_effect_due_later_is_polled_when_its_time_has_come() -> None:
    greeter = Greeter(GREETED)
    later = T0 + timedelta(minutes=30)
    world = World(greeter, Start("greet/t-1", "greet", due_at=later))
    async with world.running() as runner:
        runner.submit(await world.count())
        await asyncio.sleep(0.05)
        assert greeter.runs == []
        world.now = later
        await world.until_events(2)
    assert [run.recovered for run in greeter.runs] == [False]


async def test_executor_that_raised_runs_again_after_the_lease_and_knows_it_was_interrupted() -> (
    None
):
    greeter = Greeter(RuntimeError("SECRET"), GREETED)
    greeter.checkpoint = "dot_sent"
    world = World(greeter)
    async with world.running() as runner:
        runner.submit(await world.count())
        await asyncio.sleep(0.05)
        assert len(greeter.runs) == 1
        world.now += timedelta(seconds=61)
        await world.until_events(2)
    assert [(run.attempt, run.recovered, run.checkpoint) for run in greeter.runs] == [
        (1, False, None),
        (2, True, "dot_sent"),
    ]
    assert [call.method_name for call in world.logger.calls] == ["error"]


async def test_lease_of_a_dead_process_runs_the_effect_once_more_and_only_once() -> None:
    greeter = Greeter(GREETED)
    world = World(greeter)
    await world.count()  # leased to a process that dies before it runs
    world.now += timedelta(seconds=61)
    async with world.running(), world.running():
        await world.until_events(2)
        await asyncio.sleep(0.05)
    assert [(run.attempt, run.recovered) for run in greeter.runs] == [(2, True)]


async def test_worker_that_lost_its_lease_neither_marks_nor_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = asyncio.Event()
    runs: list[EffectRun] = []

    async def greet(run: EffectRun, mark: Mark) -> object:
        runs.append(run)
        if run.attempt == 1:
            await gate.wait()
            with suppress(Transient):
                await mark("too late")
        return Done(Decision((counted(topup_id=f"by-{run.attempt}"),)))

    world = World(greet)
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", 60)
    async with world.running() as slow:
        slow.submit(await world.count())
        await until(lambda: _has(runs, 1))
        monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", 0.01)
        world.now += timedelta(seconds=61)
        async with world.running():
            await world.until_events(2)
        gate.set()
        await until(lambda: _has_recorded(world, 2))
    assert [(run.attempt, run.recovered, run.checkpoint) for run in runs] == [
        (1, False, None),
        (2, True, None),
    ]
    async with world.log.transaction() as tx:
        stored = (await tx.load_streams([STREAM]))[STREAM]
    assert [b"by-2" in event.body for event in stored] == [False, True]


async def _has(runs: list[EffectRun], count: int) -> bool:
    return len(runs) == count


async def _has_recorded(world: World, count: int) -> bool:
    return world.recorded == count


async def test_retry_keeps_the_row_and_comes_back_changed_and_not_recovered() -> None:
    later = T0 + timedelta(minutes=1)
    greeter = Greeter(Decision((counted(),), (Retry(later, {"step": 2}),)), GREETED)
    world = World(greeter)
    async with world.running() as runner:
        runner.submit(await world.count())
        await world.until_events(2)
        assert await world.waiting()
        world.now = later
        await world.until_events(3)
    assert [(run.attempt, run.recovered, run.payload) for run in greeter.runs] == [
        (1, False, {"step": 1}),
        (2, False, {"step": 2}),
    ]
    assert not await world.waiting()
    async with world.log.transaction() as tx:
        stored = (await tx.load_streams([STREAM]))[STREAM]
    assert len({event.event_id for event in stored}) == 3


async def test_results_that_came_together_are_recorded_with_one_commit() -> None:
    gate = asyncio.Event()

    async def greet(_run: EffectRun, _mark: Mark) -> object:
        await gate.wait()
        return Done(GREETED)

    wanted = [Start(f"greet/{n}", "greet") for n in range(50)]
    world = World(greet, *wanted)
    async with world.running(concurrency=50) as runner:
        runner.submit(await world.count())
        await asyncio.sleep(0.02)
        gate.set()
        await world.until_events(51)
    assert world.recorded == 1


@pytest.mark.parametrize(("wait", "commits"), [(0, 3), (1, 1)])
async def test_results_that_come_one_by_one_share_a_commit_where_they_may_wait(
    wait: float, commits: int
) -> None:
    async def greet(run: EffectRun, _mark: Mark) -> object:
        number = int(run.effect_id[-1])
        await (asyncio.sleep(0.01 * number) if wait else world.until_events(number))
        return Done(GREETED)

    world = World(greet, *(Start(f"greet/t-{number}", "greet") for number in (1, 2, 3)))
    world.processor = replace(world.processor, results_wait_seconds=wait)
    async with world.running() as runner:
        runner.submit(await world.count())
        await world.until_events(4)
    assert world.recorded == commits


async def test_no_more_effects_run_at_once_than_allowed() -> None:
    now_running, most = 0, 0

    async def greet(_run: EffectRun, _mark: Mark) -> object:
        nonlocal now_running, most
        now_running += 1
        most = max(most, now_running)
        await asyncio.sleep(0.005)
        now_running -= 1
        return Done(GREETED)

    world = World(greet, *(Start(f"greet/{n}", "greet") for n in range(12)))
    async with world.running(concurrency=3) as runner:
        runner.submit(await world.count())
        await world.until_events(13)
    assert most == 3


async def test_effect_that_is_under_way_is_not_started_again() -> None:
    gate = asyncio.Event()
    runs: list[EffectRun] = []

    async def greet(run: EffectRun, _mark: Mark) -> object:
        runs.append(run)
        await gate.wait()
        return Done(GREETED)

    world = World(greet)
    async with world.running() as runner:
        leased = await world.count()
        runner.submit(leased)
        runner.submit(leased)
        gate.set()
        await world.until_events(2)
    assert len(runs) == 1


async def test_effect_whose_lease_ended_under_way_goes_on_under_the_new_one() -> None:
    gate = asyncio.Event()
    runs: list[EffectRun] = []

    async def greet(run: EffectRun, mark: Mark) -> object:
        runs.append(run)
        await gate.wait()
        await mark("dot_sent")
        return Done(GREETED)

    world = World(greet)
    async with world.running() as runner:
        runner.submit(await world.count())
        world.now += timedelta(seconds=61)
        await asyncio.sleep(0.05)
        gate.set()
        await world.until_events(2)
    assert len(runs) == 1
    assert world.logger.calls == []


async def test_result_of_an_effect_whose_row_is_gone_is_not_recorded_again() -> None:
    greeter = Greeter(GREETED)
    world = World(greeter)
    leased = await world.count()
    async with world.log.transaction() as tx:
        await tx.finish_effects([(leased[0].run.shard, leased[0].run.effect_id)])
    async with world.running() as runner:
        runner.submit(leased)
        await until(lambda: _has_recorded(world, 1))
    assert await streams_of(world.log, STREAM) == [1]


async def test_results_wait_out_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.runner.RETRY_SECONDS_FIRST", 0.01)
    world = World(Greeter(GREETED))
    leased = await world.count()
    away = [Transient("Postgres is unwell")] * 2
    transaction = world.log.transaction

    def sometimes(**wanted: Any) -> object:
        if away and wanted:
            raise away.pop()
        return transaction(**wanted)

    monkeypatch.setattr(world.log, "transaction", sometimes)
    async with world.running() as runner:
        runner.submit(leased)
        await world.until_events(2)
    assert away == []
    assert world.recorded == 1


async def test_stop_records_what_finishes_and_leaves_the_rest_for_later() -> None:
    slow = asyncio.Event()

    async def greet(run: EffectRun, _mark: Mark) -> object:
        await (slow.wait() if run.effect_id == "greet/t-1" else asyncio.sleep(0.02))
        return Done(GREETED)

    world = World(greet, Start("greet/t-1", "greet"), Start("greet/quick", "greet"))
    async with world.running() as runner:
        runner.submit(await world.count())
        await runner.stop(0.2)
        assert await streams_of(world.log, STREAM) == [2]
    assert await world.waiting()
    world.now += timedelta(seconds=61)
    slow.set()
    async with world.running():
        await world.until_events(3)
    assert not await world.waiting()


async def test_held_effect_runs_when_a_later_decision_releases_it() -> None:
    greeter = Greeter(GREETED)
    world = World(greeter)
    toy = Toy(
        effects=lambda command: (
            (Start("greet/t-1", "greet", hold_key="door"),)
            if command.amount == 5
            else (Release("door"),)
        )
    )
    intake = intake_of(world.log, toy.processor())
    await begin(world.log)
    assert (await intake.handle([request(0)])).leased == []
    released = (await intake.handle([request(1, amount=6)])).leased
    async with world.running() as runner:
        runner.submit(released)
        await world.until_events(3)
    assert [(run.attempt, run.recovered) for run in greeter.runs] == [(1, False)]


async def test_dropped_effect_never_runs() -> None:
    world = World(Greeter())
    toy = Toy(effects=_hold_then_drop)
    intake = intake_of(world.log, toy.processor())
    await begin(world.log)
    await intake.handle([request(0)])
    assert await world.waiting()
    await intake.handle([request(1, amount=6)])
    assert not await world.waiting()


def _hold_then_drop(command: Count) -> tuple[Start | Drop, ...]:
    first = command.amount == 5
    return (Start("greet/t-1", "greet", hold_key="door"),) if first else (Drop("door"),)

"""An effect whose result must not be recorded stops the service as any other halt does."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from services.runtime.effect import EffectRun, Start
from services.runtime.errors import Halt
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.journal import Journal
from services.runtime.processor import Executor, Mark
from tests.controls import T0
from tests.unit.runtime.toy import ACCOUNT, Count, Toy, begin, intake_of, memory_log, request


async def count_what_halts(_run: EffectRun, _mark: Mark) -> Count:
    return Count(ACCOUNT, "t-1", 13, T0)


async def halt(_run: EffectRun, _mark: Mark) -> Count:
    message = "look at this"
    raise Halt(message)


@pytest.mark.parametrize("executor", [count_what_halts, halt], ids=["decided", "executed"])
async def test_halt_of_an_effect_comes_out_and_stops_at_once(executor: Executor) -> None:
    toy = Toy(effects=lambda _: (Start("e-1", "e"),), troubles={13: Halt("look at this")})
    log, processor = memory_log(), toy.processor({"e": executor})
    await begin(log)
    runner = EffectRunner(
        log=log,
        processor=processor,
        journal=Journal(processor),
        concurrency=1,
        lease_seconds=60,
        clock=lambda: T0,
        logger=structlog.get_logger(),
    )
    runner.submit((await intake_of(log, processor).handle([request()])).leased)

    with pytest.raises(ExceptionGroup) as failed:
        await runner.run()
    assert failed.group_contains(Halt, match="look at this")
    await asyncio.wait_for(runner.stop(60), 5)

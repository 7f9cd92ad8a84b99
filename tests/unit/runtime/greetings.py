"""A toy whose counts want a greeting, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from services.runtime.effect import Drop, EffectRun, Release, Start
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.journal import Journal
from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import LeasedEffect
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.processor import Decision, Mark, Processor
from tests.controls import T0
from tests.unit.runtime.toy import (
    SHARD,
    Done,
    Toy,
    begin,
    counted,
    intake_of,
    memory_log,
    request,
    streams_of,
    until,
)

STREAM = "order/t-1"
Greet = Callable[[EffectRun, Mark], Awaitable[object]]


class World:
    """A toy whose counts want a greeting, with a clock that the test moves."""

    def __init__(
        self, greet: Greet, *effects: Start | Release | Drop, tracing: Tracing = UNTRACED
    ) -> None:
        self.now = T0
        self.recorded = 0
        self.log: MemoryEventLog = memory_log(lambda: self.now)
        wanted = effects or (Start("greet/t-1", "greet", {"step": 1}),)
        toy = Toy(effects=lambda command: wanted if command.amount == 5 else ())
        self.processor: Processor = toy.processor({"greet": greet})
        self.intake = intake_of(self.log, self.processor, tracing=tracing)
        self.tracing = tracing
        self.logger = structlog.testing.CapturingLogger()
        self.runners: list[EffectRunner] = []

    def runner(self, *, concurrency: int = 10) -> EffectRunner:
        runner = EffectRunner(
            log=self.log,
            processor=self.processor,
            journal=Journal(self.processor, on_committed=self._committed),
            concurrency=concurrency,
            lease_seconds=60,
            clock=lambda: self.now,
            logger=structlog.wrap_logger(self.logger),
            tracing=self.tracing,
        )
        self.runners.append(runner)
        return runner

    def _committed(self, recorded: Recorded) -> None:
        self.recorded += 1
        for runner in self.runners:
            runner.expect(recorded)

    @asynccontextmanager
    async def running(self, *, concurrency: int = 10) -> AsyncIterator[EffectRunner]:
        runner = self.runner(concurrency=concurrency)
        task = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def count(self, offset: int = 0, traceparent: bytes | None = None) -> list[LeasedEffect]:
        await begin(self.log)
        asked = request(offset)
        if traceparent is not None:
            asked.having("ce_traceparent", traceparent)
        return (await self.intake.handle([asked])).leased

    async def waiting(self) -> bool:
        """Say whether the row of the effect is still there."""
        return (SHARD, "greet/t-1") in self.log._tables.effects  # noqa: SLF001 - waiting or running

    async def until_events(self, wanted: int) -> None:
        async def there() -> bool:
            return await streams_of(self.log, STREAM) == [wanted]

        await until(there)


class Greeter:
    """Answers each attempt with the next of `answers`; keeps the runs that it saw."""

    def __init__(self, *answers: Decision | Exception) -> None:
        self.answers = list(answers)
        self.runs: list[EffectRun] = []
        self.checkpoint: str | None = None

    async def __call__(self, run: EffectRun, mark: Mark) -> object:
        self.runs.append(run)
        if self.checkpoint is not None:
            await mark(self.checkpoint)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Done(answer)


GREETED = Decision((counted(),))

"""A transaction commits, and its answer is lost: what is tried again records nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import structlog

from services.runtime.effect import EffectRun, Retry, Start
from services.runtime.errors import Transient
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.journal import Journal
from services.runtime.log.memory_log import MemoryEventLog, MemoryTransaction
from services.runtime.processor import Decision, Mark
from tests.controls import T0
from tests.unit.runtime.toy import (
    SHARDS,
    Done,
    Toy,
    begin,
    counted,
    intake_of,
    request,
    streams_of,
    until,
)


class Unanswered(MemoryEventLog):
    """A log whose next commits with effects under way are not answered."""

    lost = 0

    @asynccontextmanager
    async def transaction(self, **wanted: Any) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction(**wanted) as tx:
            yield tx
        if self.lost and wanted.get("runs"):
            self.lost -= 1
            message = "connection was closed in the middle of operation"
            raise Transient(message)


async def test_result_that_has_its_effect_run_again_is_recorded_once(monkeypatch: Any) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.runner.RETRY_SECONDS_FIRST", 0.01)
    log = Unanswered(shard_count=SHARDS, lease_seconds=60, wall_clock=lambda: T0)
    log.lost = 1
    await begin(log)
    later = T0 + timedelta(hours=1)

    async def run(_run: EffectRun, _mark: Mark) -> object:
        return Done(Decision((counted(topup_id="t-1"),), (Retry(later),)))

    processor = Toy(effects=lambda _: (Start("e-1", "e"),)).processor({"e": run})
    runner = EffectRunner(
        log=log,
        processor=processor,
        journal=Journal(processor),
        concurrency=1,
        lease_seconds=60,
        clock=lambda: T0,
        logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
    )
    task = asyncio.create_task(runner.run())
    try:
        runner.submit((await intake_of(log, processor).handle([request()])).leased)

        async def answered() -> bool:
            return not log.lost and not runner._under_way  # noqa: SLF001 - nothing else shows it

        await until(answered)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert await streams_of(log, "order/t-1") == [2]

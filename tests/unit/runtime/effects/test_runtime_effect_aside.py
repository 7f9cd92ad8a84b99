"""A result that cannot be recorded is kept aside, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import structlog

from services.runtime.effect import EffectRun, Start
from services.runtime.errors import Park, Transient
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.journal import Journal
from services.runtime.log.event_log import Parking
from services.runtime.processor import Decision, Mark
from tests.controls import T0
from tests.unit.runtime.toy import (
    ACCOUNT,
    SHARD,
    Count,
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

TROUBLES: list[Exception] = [RuntimeError("boom"), Park("catalogue_lost", "put it back")]


class Shop:
    """A toy service whose effects bring amount 13 in one stream and a fact in all others."""

    def __init__(self, trouble: Exception) -> None:
        self.toy = Toy(effects=lambda count: (Start(count.topup_id, "e"),))
        self.toy.troubles = {13: trouble}
        self.now = T0
        self.log = memory_log(lambda: self.now)
        processor = self.toy.processor({"e": self.run})
        self.intake = intake_of(self.log, processor)
        self.runs: list[EffectRun] = []
        self.runner = EffectRunner(
            log=self.log,
            processor=processor,
            journal=Journal(processor),
            concurrency=10,
            lease_seconds=60,
            clock=lambda: self.now,
            logger=structlog.get_logger(),
        )

    async def run(self, run: EffectRun, _mark: Mark) -> object:
        self.runs.append(run)
        if run.effect_id == "t-1":
            return Count(ACCOUNT, "t-1", 13, T0)
        return Done(Decision((counted(topup_id=run.effect_id),)))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.runner.run())
        try:
            yield
        finally:
            await self.runner.stop(5)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def grown(self, stream_id: str, to: int) -> Callable[[], Awaitable[bool]]:
        async def grown() -> bool:
            return await streams_of(self.log, stream_id) == [to]

        return grown

    def trouble(self) -> str | None:
        row = self.log._tables.effects.get((SHARD, "t-1"))  # noqa: SLF001
        return row.trouble if row else None


@pytest.mark.parametrize("trouble", TROUBLES, ids=["unforeseen", "catalogue lost"])
async def test_result_that_cannot_be_decided_is_kept_aside_and_tried_again_later(
    trouble: Exception,
) -> None:
    shop = Shop(trouble)
    await begin(shop.log)
    async with shop.open():
        batch = [request(n, topup_id=f"t-{n + 1}") for n in range(3)]
        shop.runner.submit((await shop.intake.handle(batch)).leased)
        await until(shop.grown("order/t-2", 2))
        await until(shop.grown("order/t-3", 2))

        async def aside() -> bool:
            return shop.trouble() is not None

        await until(aside)
        assert await streams_of(shop.log, "order/t-1") == [1]
        shop.toy.troubles = {}
        shop.toy.effects = lambda _: ()
        shop.now += timedelta(minutes=5)
        await until(shop.grown("order/t-1", 2))
    first, again = (run for run in shop.runs if run.effect_id == "t-1")
    assert (first.recovered, again.recovered) == (False, True)
    assert (SHARD, "t-1") not in shop.log._tables.effects  # noqa: SLF001


async def test_result_of_a_parked_shard_is_recorded_once_when_it_goes_on() -> None:
    shop = Shop(Transient("unused"))
    await begin(shop.log)
    async with shop.open():
        leased = (await shop.intake.handle([request(0, topup_id="t-2")])).leased
        async with shop.log.transaction(shards={SHARD}) as tx:
            await tx.park(Parking(SHARD, "sequence_gap", "a test"))
        shop.runner.submit(leased)

        async def held() -> bool:
            return bool(shop.runner._held)  # noqa: SLF001

        await until(held)
        assert await streams_of(shop.log, "order/t-2") == [1]
        async with shop.log.transaction(shards={SHARD}) as tx:
            await tx.unpark(SHARD, "resumed")
        await until(shop.grown("order/t-2", 2))
    assert [run.effect_id for run in shop.runs] == ["t-2"]


async def test_effects_of_a_parked_shard_are_not_leased() -> None:
    shop = Shop(Transient("unused"))
    await begin(shop.log)
    await shop.intake.handle([request(0, topup_id="t-2")])
    later = T0 + timedelta(minutes=5)
    shop.now = later
    async with shop.log.transaction(shards={SHARD}) as tx:
        await tx.park(Parking(SHARD, "sequence_gap", "a test"))
    assert await shop.log.lease_due_effects(now=later, limit=10) == []
    async with shop.log.transaction(shards={SHARD}) as tx:
        await tx.unpark(SHARD, "resumed")
    assert len(await shop.log.lease_due_effects(now=later, limit=10)) == 1

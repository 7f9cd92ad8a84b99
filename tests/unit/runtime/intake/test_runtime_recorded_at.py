"""When an event was recorded: told under the lock, and never before what its shard holds already."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.effect import EffectChange
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.memory_log import MemoryEventLog
from tests.controls import T0
from tests.unit.runtime.toy import SHARD, SHARDS, Count, Toy, begin, memory_log, request, until


class Instance:
    """A process of the service with a clock of its own."""

    def __init__(self, log: MemoryEventLog) -> None:
        self.now: datetime = T0
        self.asked_at: list[datetime] = []
        processor = Toy(effects=self._asked).processor()
        self.intake: Intake = Intake(
            log=log,
            processor=processor,
            journal=Journal(processor),
            shard_count=SHARDS,
            clock=lambda: self.now,
        )

    def _asked(self, command: Count) -> tuple[EffectChange, ...]:
        self.asked_at.append(command.at)
        return ()


async def recorded(log: MemoryEventLog) -> list[StoredEvent]:
    """Return what the shard holds, in order."""
    found = await log.unpublished("/billing/orders", [SHARD], limit=100)
    return found[SHARD].events if SHARD in found else []


def known_at(events: list[StoredEvent], moment: datetime) -> list[int]:
    """Return the positions that were recorded by `moment`."""
    return [event.position for event in events if event.recorded_at <= moment]


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(-7_200, 7_200)), max_size=12))
def test_what_was_known_at_a_moment_before_the_head_never_changes(
    steps: list[tuple[bool, int]],
) -> None:
    async def run() -> None:
        log = memory_log()
        await begin(log)
        instances = {True: Instance(log), False: Instance(log)}
        known: dict[datetime, list[int]] = {}
        for offset, (which, seconds) in enumerate(steps):
            instances[which].now = T0 + timedelta(seconds=seconds)
            await instances[which].intake.handle([request(offset, topup_id=f"t-{offset}")])
            events = await recorded(log)
            for moment, positions in known.items():
                assert known_at(events, moment) == positions
            # The end of the shard may still get company at the very same moment.
            just_before = events[-1].recorded_at - timedelta(microseconds=1)
            known[just_before] = known_at(events, just_before)

    asyncio.run(run())


async def test_batch_that_waited_for_its_lock_is_recorded_when_it_got_it() -> None:
    log = memory_log()
    await begin(log)
    waiting = Instance(log)
    async with log.transaction(shards=[SHARD]):
        handling = asyncio.create_task(waiting.intake.handle([request(0)]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not handling.done()
        waiting.now = T0 + timedelta(minutes=1)
    await handling

    async def is_recorded() -> bool:
        return bool(await recorded(log))

    await until(is_recorded)
    [event] = await recorded(log)
    assert event.recorded_at == T0 + timedelta(minutes=1)
    assert waiting.asked_at == [T0 + timedelta(minutes=1)]

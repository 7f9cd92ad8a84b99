"""A process is stuck when work waits, nothing moves, and neither Postgres nor Kafka is to blame."""

from __future__ import annotations

import pytest

from services.runtime.errors import Stuck
from services.runtime.watch.watchdog import Progress, Watchdog

IDLE = Progress(consumed=1, behind=0, busy=False, published=1, unpublished=0)


class World:
    def __init__(self) -> None:
        self.progress: Progress | None = IDLE
        self.now = 0.0
        self.kafka = True
        self.records = True
        self.watchdog = Watchdog(
            self._look,
            kafka_answers=self._kafka_answers,
            records_wait=self._records_wait,
            limit_seconds=30,
            monotonic=lambda: self.now,
        )

    async def _look(self) -> Progress | None:
        return self.progress

    async def _kafka_answers(self) -> bool:
        return self.kafka

    async def _records_wait(self) -> bool:
        return self.records

    async def after(self, seconds: float, progress: Progress | None) -> None:
        self.now += seconds
        self.progress = progress
        await self.watchdog.look_once()


BEHIND = Progress(consumed=1, behind=5, busy=False, published=1, unpublished=0)
UNSENT = Progress(consumed=1, behind=0, busy=False, published=1, unpublished=5)


async def test_idle_process_is_never_stuck() -> None:
    world = World()
    for _ in range(10):
        await world.after(1_000, IDLE)


@pytest.mark.parametrize(("progress", "part"), [(BEHIND, "consumer"), (UNSENT, "relay")])
async def test_part_with_work_that_does_not_move_is_stuck(progress: Progress, part: str) -> None:
    world = World()
    await world.after(0, progress)
    await world.after(29, progress)
    with pytest.raises(Stuck, match=f"the {part} stood still for 30 s"):
        await world.after(1, progress)


async def test_slow_progress_is_progress() -> None:
    world = World()
    for number in range(10):
        moving = Progress(number, behind=5, busy=False, published=number, unpublished=5)
        await world.after(29, moving)


async def test_work_that_comes_after_a_pause_gets_the_full_time() -> None:
    world = World()
    await world.after(0, IDLE)
    await world.after(1_000, BEHIND)
    await world.after(29, BEHIND)


async def test_batch_in_hand_is_not_stuck() -> None:
    world = World()
    busy = Progress(consumed=1, behind=5, busy=True, published=1, unpublished=0)
    for _ in range(10):
        await world.after(29, busy)


async def test_postgres_away_is_no_reason_to_end() -> None:
    world = World()
    await world.after(0, BEHIND)
    await world.after(20, None)
    await world.after(20, BEHIND)
    await world.after(29, BEHIND)


async def test_broker_away_is_no_reason_to_end() -> None:
    world = World()
    world.kafka = False
    for _ in range(10):
        await world.after(31, BEHIND)
    world.kafka = True
    await world.after(1, BEHIND)
    with pytest.raises(Stuck):
        await world.after(30, BEHIND)


async def test_topic_that_ends_with_no_record_makes_nobody_stuck_but_a_record_does() -> None:
    world = World()
    world.records = False
    await world.after(0, BEHIND)
    for _ in range(5):
        await world.after(31, BEHIND)
    world.records = True
    await world.after(1, BEHIND)
    with pytest.raises(Stuck, match="the consumer"):
        await world.after(31, BEHIND)


async def test_relay_that_stands_still_is_stuck_where_no_record_waits() -> None:
    world = World()
    world.records = False
    both = Progress(consumed=1, behind=1, busy=False, published=1, unpublished=5)
    await world.after(0, both)
    with pytest.raises(Stuck, match=r"^the relay stood still"):
        await world.after(31, both)

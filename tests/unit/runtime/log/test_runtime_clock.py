"""The clock that money depends on: whose word counts when clocks jump, and for how long nobody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.clock.database_clock import SETTLE_SECONDS, DatabaseClock, TimeDisputed
from services.runtime.effect import Start
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.log.event_log import EffectOrigin
from services.runtime.log.memory_log import MemoryEventLog
from tests.controls import T0
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, begin, memory_log, request

HOUR: Final = 3_600.0


class World:
    """True time, and clocks that are wrong by so many seconds."""

    def __init__(self, *, wall: float = 0.0, database: float = 0.0) -> None:
        """Begin at T0 with a process that was just started."""
        self.passed = 0.0
        self.stood_still = 0.0
        self.wall_wrong, self.database_wrong = wall, database
        self.clock = self.process()

    def process(self, *, wall: float | None = None) -> DatabaseClock:
        """Return the clock of one more process, on a machine whose own clock is wrong by `wall`."""
        return DatabaseClock(
            structlog.get_logger(),
            running=lambda: 7.0 + self.passed - self.stood_still,
            wall=lambda: T0.timestamp() + self.passed + (self.wall_wrong if wall is None else wall),
        )

    def true(self) -> datetime:
        return T0 + timedelta(seconds=self.passed)

    def read(self, clock: DatabaseClock | None = None) -> None:
        clock = clock or self.clock
        database = self.true() + timedelta(seconds=self.database_wrong)
        clock.read(database, clock.running())

    def go_on(self, seconds: float) -> None:
        """Let time pass, and the clock be read every second."""
        for _ in range(int(seconds)):
            self.passed += 1
            self.read()

    def is_known(self) -> bool:
        try:
            self.clock.now()
        except TimeDisputed:
            return False
        return True


def shown(world: World) -> tuple[int, bool, int]:
    """Return jumps, whether the time is disputed, and how far the database is ahead."""
    counts = world.clock.counts
    return counts.jumps, counts.disputed, round(counts.database)


def test_time_is_not_known_before_it_was_read() -> None:
    with pytest.raises(TimeDisputed, match="not read yet"):
        World().clock.now()


def test_clock_of_the_database_is_followed() -> None:
    world = World(wall=2)
    world.go_on(10)
    assert world.clock.now() == world.true()
    world.database_wrong = -1.5
    world.go_on(1)
    stands = world.clock.now()
    assert stands == world.true() - timedelta(seconds=1)  # never back
    world.go_on(5)
    assert world.clock.now() == world.true() - timedelta(seconds=1.5)
    assert world.clock.counts.jumps == 0


def test_database_that_went_back_is_waited_out_and_its_clock_outvoted() -> None:
    jump = -HOUR
    world = World()
    world.go_on(10)
    world.database_wrong = jump
    world.go_on(1)
    assert not world.is_known()
    assert shown(world) == (1, True, round(jump))
    world.go_on(SETTLE_SECONDS - 1)
    assert not world.is_known()
    world.go_on(2)
    assert world.clock.now() == world.true()
    assert shown(world) == (1, False, round(jump))
    world.database_wrong = 0
    world.go_on(1)
    assert world.clock.now() == world.true()
    assert shown(world) == (1, False, 0)


def test_machine_that_its_host_stopped_does_not_outvote_the_database_with_its_two_clocks() -> None:
    world = World()
    world.go_on(10)
    world.passed, world.stood_still, world.wall_wrong = world.passed + 600, 600, -600
    world.go_on(10 * SETTLE_SECONDS)
    with pytest.raises(TimeDisputed, match="Postgres is 600 s ahead"):
        world.clock.now()
    world.wall_wrong = 0  # NTP sets the machine's clock right
    world.go_on(SETTLE_SECONDS + 2)
    assert world.clock.now() == world.true()


def test_database_that_jumped_ahead_is_not_believed_and_followed_when_it_is_right_again() -> None:
    world = World()
    world.go_on(10)
    world.database_wrong = HOUR
    world.go_on(10 * SETTLE_SECONDS)
    assert not world.is_known()
    world.database_wrong = 0
    world.go_on(1)
    assert world.clock.now() == world.true()


def test_jump_that_is_taken_back_is_over_at_once() -> None:
    world = World()
    world.go_on(10)
    world.database_wrong = HOUR
    world.go_on(3)
    world.database_wrong = 0
    world.go_on(1)
    assert world.clock.now() == world.true()


@pytest.mark.parametrize("jump", [5 * HOUR, -5 * HOUR])
def test_clock_of_the_machine_that_jumps_changes_nothing_but_what_is_shown(jump: float) -> None:
    world = World()
    world.go_on(10)
    world.wall_wrong = jump
    world.go_on(100)
    assert world.clock.now() == world.true()
    assert world.clock.counts.jumps == 0
    assert world.clock.counts.wall == pytest.approx(jump, abs=0.1)


@pytest.mark.parametrize("wrong", [5 * HOUR, -5 * HOUR])
def test_process_that_begins_between_two_clocks_waits_until_they_agree(wrong: float) -> None:
    world = World(wall=wrong)
    world.go_on(10 * SETTLE_SECONDS)
    with pytest.raises(TimeDisputed, match="18000 s apart: set the wrong one right"):
        world.clock.now()
    world.wall_wrong = 0
    world.go_on(1)
    assert world.clock.now() == world.true()


def test_wrong_clock_of_the_machine_leaves_no_mark_from_before_the_first_agreement() -> None:
    world = World(wall=5 * HOUR)
    assert world.clock.counted() == T0 + timedelta(hours=5)
    world.wall_wrong = 0
    world.go_on(1)
    assert world.clock.now() == world.clock.counted() == world.true()


def test_process_that_stood_still_takes_the_time_of_both_others_after_a_while() -> None:
    world = World()
    world.go_on(10)
    world.passed, world.stood_still = world.passed + HOUR, HOUR
    world.go_on(1)
    assert not world.is_known()
    world.go_on(SETTLE_SECONDS + 1)
    assert world.clock.now() == world.true()


def test_machine_set_back_together_with_the_database_makes_time_stand_still_not_go_back() -> None:
    world = World(wall=HOUR, database=HOUR)
    world.go_on(10)
    before = world.clock.now()
    world.wall_wrong = world.database_wrong = 0
    world.go_on(1)
    assert not world.is_known()
    world.go_on(SETTLE_SECONDS + 1)
    assert world.clock.now() == before
    world.go_on(HOUR)
    assert world.clock.now() == world.true()


def test_time_is_not_known_while_all_three_clocks_differ() -> None:
    world = World()
    world.go_on(10)
    world.database_wrong, world.wall_wrong = HOUR, -HOUR
    world.go_on(10 * SETTLE_SECONDS)
    assert not world.is_known()
    assert world.clock.counts.jumps == 1


def test_answer_that_took_long_tells_nothing() -> None:
    world = World()
    world.go_on(10)
    asked_at = world.clock.running()
    world.passed += 30
    world.clock.read(world.true() + timedelta(hours=1), asked_at)
    assert world.clock.now() == world.true()


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([-HOUR, -4.0, 0.0, 3.0, HOUR]),
            st.sampled_from([-HOUR, 0.0, HOUR]),
            st.integers(1, 90),
        ),
        max_size=8,
    )
)
def test_time_that_is_known_never_goes_back(steps: list[tuple[float, float, int]]) -> None:
    world = World()
    world.read()
    newest = datetime.min.replace(tzinfo=UTC)
    for database, wall, seconds in steps:
        world.database_wrong, world.wall_wrong = database, wall
        for _ in range(seconds):
            world.go_on(1)
            if world.is_known():
                assert world.clock.now() >= newest
                newest = world.clock.now()


def intake(log: MemoryEventLog, clock: DatabaseClock) -> Intake:
    processor = Toy().processor()
    return Intake(
        log=log,
        processor=processor,
        journal=Journal(processor),
        shard_count=SHARDS,
        clock=clock.now,
    )


async def test_instances_on_machines_with_other_clocks_record_in_order() -> None:
    world = World()
    ahead, behind = world.process(wall=2 * HOUR), world.process(wall=-2 * HOUR)
    for clock in (ahead, behind):
        world.read(world.clock)
        clock._offset = world.clock._offset  # noqa: SLF001 - they began before their clocks were set
    log = memory_log()
    await begin(log)
    for offset, clock in enumerate((ahead, behind, ahead, behind)):
        world.passed += 1
        world.read(clock)
        await intake(log, clock).handle([request(offset, topup_id=f"t-{offset}")])
    events = (await log.unpublished("/billing/orders", [SHARD], limit=9))[SHARD].events
    assert [event.recorded_at for event in events] == [
        T0 + timedelta(seconds=seconds) for seconds in (1, 2, 3, 4)
    ]


async def test_nothing_is_taken_in_while_it_is_not_known_what_time_it_is() -> None:
    world = World()
    world.go_on(1)
    log = memory_log()
    await begin(log)
    world.database_wrong = -HOUR
    world.read()
    with pytest.raises(TimeDisputed):
        await intake(log, world.clock).handle([request(0)])
    assert await log.unpublished("/billing/orders", [SHARD], limit=9) == {}
    world.go_on(SETTLE_SECONDS + 1)
    await intake(log, world.clock).handle([request(0)])
    [event] = (await log.unpublished("/billing/orders", [SHARD], limit=9))[SHARD].events
    assert event.recorded_at == world.true()


async def test_lease_of_a_clock_that_was_wrong_is_free() -> None:
    now = T0 + timedelta(hours=1)
    log = memory_log(lambda: now, lease=60)
    origin = EffectOrigin(SHARD, "acct-1", "order/t-1", UUID(int=1), "t-1", None)
    async with log.transaction(shards=[SHARD]) as tx:
        await tx.start_effects([(origin, Start("charge/t-1", "charge"))], now=now)
    assert await log.lease_due_effects(now=now, limit=9) == []
    now = T0
    [freed] = await log.lease_due_effects(now=T0 + timedelta(hours=1), limit=9)
    assert (freed.run.attempt, freed.run.recovered) == (2, True)

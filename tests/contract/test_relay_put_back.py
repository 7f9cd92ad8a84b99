"""A database that is put back under a running relay: nothing of it is published or marked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.publishing import relay as relaying
from services.runtime.flow.publishing.relay import Relay
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import EventLog
from tests.contract.test_event_log import log
from tests.contract.test_published_ends import kept
from tests.controls import T0
from tests.unit.runtime.relays import World, running
from tests.unit.runtime.toy import (
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    Toy,
    begin,
    intake_of,
    request,
    until,
)

__all__ = ["log"]

OTHER = next(shard for shard in range(SHARDS) if shard != SHARD)
LOST = "published_event_lost"


@pytest.fixture
async def world(log: EventLog) -> World:
    """Return a log with one event of the shard, which is published."""
    await begin(log)
    await take(intake_of(log, Toy().processor()), [0], "kept")
    return World(log)


async def take(intake: Intake, offsets: Sequence[int], name: str) -> None:
    """Have a process record one event for each record."""
    for offset in offsets:
        await intake.handle([request(offset, topup_id=f"{name}-{offset}")])


async def others(log: EventLog, first: int, count: int) -> None:
    """Have another process, which knows nothing of before, record other events."""
    await take(intake_of(log, Toy().processor()), range(first, first + count), "other")


def publishing(world: World, relay: Relay) -> Intake:
    """Return the intake of the process of `relay`, which learns what it commits."""
    processor = Toy().processor()

    def committed(recorded: Recorded) -> None:
        relay.add(recorded.events)

    return Intake(
        log=world.log,
        processor=processor,
        journal=Journal(processor, on_committed=committed),
        shard_count=SHARDS,
        clock=lambda: T0,
    )


def sent(world: World, shard: int = SHARD) -> list[int]:
    """Return the sequences on a partition of the topic."""
    return [
        int(dict(each["headers"])["ce_sequence"])
        for each in world.sent
        if each["partition"] == shard
    ]


async def parked(world: World) -> list[tuple[int, str]]:
    return [(each.shard, each.reason) for each in await world.log.parkings()]


@pytest.mark.parametrize("count", [0, 1, 2, 4], ids=["lower", "below", "equal", "higher"])
async def test_log_that_went_back_is_not_published_or_marked_and_its_shard_waits(
    world: World, database: str | None, count: int
) -> None:
    put_back = await kept(world.log, database)
    await others(world.log, 1, 2)
    relay = world.relay()
    await relay.flush()
    assert sent(world) == [1, 2, 3]
    await put_back()
    await others(world.log, 3, count)

    await relay.flush()
    await relay.flush()

    assert sent(world) == [1, 2, 3]
    assert (await world.log.publishing([SHARD]))[SHARD] == (0, 1 + count)
    [parking] = await world.log.parkings()
    assert (parking.shard, parking.reason) == (SHARD, LOST)
    assert "event 3 " in parking.detail
    assert f"ends at {1 + count}" in parking.detail


async def test_what_was_committed_to_a_lost_log_is_not_published_from_memory(
    world: World, database: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "POLL_SECONDS", 0.01)
    put_back = await kept(world.log, database)
    relay = world.relay()
    intake = publishing(world, relay)
    await take(intake, [1, 2], "lost")
    await relay.flush()
    await take(intake, [3], "unsent")
    await put_back()
    await others(world.log, 4, 4)
    await asyncio.sleep(0.05)  # up to when the log is to be read

    async with running(relay):
        await asyncio.sleep(0.3)

    assert sent(world) == [1, 2, 3]
    assert await parked(world) == [(SHARD, LOST)]


async def test_what_follows_another_event_at_the_same_place_is_not_published_from_memory(
    world: World, database: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay read the shard from the log, so that its process does not know its end."""
    monkeypatch.setattr(relaying, "POLL_SECONDS", 60)
    put_back = await kept(world.log, database)
    await others(world.log, 1, 2)
    relay = world.relay()

    async def all_are_sent() -> bool:
        return len(world.sent) == 3

    async def is_parked() -> bool:
        return await parked(world) == [(SHARD, LOST)]

    async with running(relay):
        await until(all_are_sent)
        await put_back()
        await others(world.log, 3, 2)
        await take(publishing(world, relay), [5], "next")
        await until(is_parked)
    assert sent(world) == [1, 2, 3]


async def test_other_shards_of_a_log_that_went_back_are_published(
    world: World, database: str | None
) -> None:
    put_back = await kept(world.log, database)
    await others(world.log, 1, 2)
    relay = world.relay()
    await relay.flush()
    await put_back()
    away = request(0, topup_id="elsewhere", account_id=OTHER_ACCOUNT)
    await intake_of(world.log, Toy().processor()).handle([away])

    await relay.flush()

    assert len(world.sent) == 4
    assert sent(world) == [1, 2, 3]
    assert await parked(world) == [(SHARD, LOST)]


async def test_shard_that_another_process_published_meanwhile_goes_on(world: World) -> None:
    first, second = world.relay(), world.relay()
    await first.flush()
    await others(world.log, 1, 2)
    await second.flush()
    await others(world.log, 3, 1)
    await first.flush()
    await second.flush()
    assert sent(world) == [1, 2, 3, 4]
    assert await parked(world) == []


async def test_shard_goes_on_when_its_log_has_what_was_published_and_a_person_says_so(
    world: World, database: str | None
) -> None:
    lost = await kept(world.log, database)
    await others(world.log, 1, 2)
    relay = world.relay()
    await relay.flush()
    whole = await kept(world.log, database)
    await lost()
    await relay.flush()
    assert await parked(world) == [(SHARD, LOST)]

    await whole()
    async with world.log.transaction(shards=[SHARD]) as tx:
        await tx.unpark(SHARD, "resumed")
    await others(world.log, 3, 1)
    await relay.flush()

    assert sent(world) == [1, 2, 3, 4]
    assert await parked(world) == []


async def test_shard_that_goes_on_without_what_was_published_is_parked_again(
    world: World, database: str | None
) -> None:
    put_back = await kept(world.log, database)
    await others(world.log, 1, 2)
    relay = world.relay()
    await relay.flush()
    await put_back()
    await relay.flush()
    async with world.log.transaction(shards=[SHARD]) as tx:
        await tx.unpark(SHARD, "resumed")

    await others(world.log, 3, 4)
    await relay.flush()

    assert sent(world) == [1, 2, 3]
    assert (await world.log.publishing([SHARD]))[SHARD] == (0, 5)
    assert await parked(world) == [(SHARD, LOST)]

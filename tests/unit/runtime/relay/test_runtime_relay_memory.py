"""Publishing from memory: the log is read only for what this process cannot know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.publishing.committed_events import KEPT_PER_SHARD_MAX, CommittedEvents
from services.runtime.flow.publishing.relay import Relay
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import (
    GENESIS_HASH,
    LogEnd,
    StoredEvent,
    Unpublished,
    chain_hash,
)
from tests.controls import T0
from tests.unit.runtime.relays import FakeProducer, World, running, world
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, intake_of, request, until

__all__ = ["world"]

SOURCE = "/billing/orders"
OTHER_SHARD = 1 - SHARD if SHARD in {0, 1} else 0


@cache
def event(
    position: int, *, shard: int = SHARD, source: str = SOURCE, log: bytes = b"log"
) -> StoredEvent:
    """Return an event of which only its place in `log` counts."""
    fields: dict[str, Any] = dict.fromkeys(StoredEvent._fields, "")
    fields |= {"shard": shard, "position": position, "source": source, "body": log}
    bare = StoredEvent(**fields | {"occurred_at": T0, "recorded_at": T0})
    return bare._replace(hash=chain_hash(end(position - 1, shard=shard, log=log).hash, bare))


def end(position: int, *, shard: int = SHARD, log: bytes = b"log") -> LogEnd:
    """Return where a log ended when it had `position` events of its own."""
    if position == 0:
        return LogEnd(0, GENESIS_HASH)
    return LogEnd(position, event(position, shard=shard, log=log).hash)


def positions(found: Unpublished | None) -> list[int] | None:
    return None if found is None else [each.position for each in found.events]


def test_events_behind_a_position_are_given_in_order_and_up_to_the_limit() -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(5), event(6), event(7)])
    found = committed.behind(SHARD, end(4), limit=2)
    assert (positions(found), found and found.through) == ([5, 6], end(6))
    found = committed.behind(SHARD, end(6), limit=2)
    assert (positions(found), found and found.through) == ([7], end(7))
    assert committed.behind(SHARD, end(7), limit=2) == Unpublished([], end(7))


def test_events_of_others_are_passed_over_and_are_no_gap() -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(1, source="/billing/ledger"), event(2), event(3, source="/shop")])
    found = committed.behind(SHARD, end(0), limit=9)
    assert (positions(found), found and found.through.position) == ([2], 3)


@pytest.mark.parametrize(
    ("added", "position"),
    [
        ([], 0),
        ([5, 6], 3),  # another process wrote 4
        ([5, 6], 7),  # and 7, which is published
        ([4, 5, 7], 4),  # and 6
    ],
)
def test_only_the_log_can_tell_what_another_process_wrote(added: list[int], position: int) -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(each) for each in added])
    assert committed.behind(SHARD, end(position), limit=9) is None


@pytest.mark.parametrize("added", [[5, 6], [4, 5], [6], [5], [4]])
def test_only_the_log_can_tell_what_follows_an_event_of_another_log(added: list[int]) -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(each) for each in added])
    for position in (4, 5):
        assert committed.behind(SHARD, end(position, log=b"another"), limit=9) is None


def test_run_goes_on_behind_the_gap() -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(4), event(7), event(8)])
    assert positions(committed.behind(SHARD, end(6), limit=9)) == [7, 8]


def test_shards_are_kept_apart_and_forgotten_apart() -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(1), event(9, shard=OTHER_SHARD), event(2)])
    assert positions(committed.behind(SHARD, end(0), limit=9)) == [1, 2]
    committed.keep_only([OTHER_SHARD])
    assert SHARD not in committed
    assert committed.behind(SHARD, end(0), limit=9) is None
    assert positions(committed.behind(OTHER_SHARD, end(8, shard=OTHER_SHARD), limit=9)) == [9]
    committed.clear()
    assert committed.behind(OTHER_SHARD, end(8, shard=OTHER_SHARD), limit=9) is None


def test_memory_is_bounded_and_what_left_it_is_read_from_the_log() -> None:
    committed = CommittedEvents(SOURCE)
    committed.add([event(each) for each in range(1, KEPT_PER_SHARD_MAX + 2)])
    assert committed.behind(SHARD, end(0), limit=1) is None
    assert positions(committed.behind(SHARD, end(1), limit=1)) == [2]


@dataclass
class Served:
    """A relay beside the intake of its process, and what it reads of the log."""

    world: World
    relay: Relay
    intake: Intake
    reads: list[list[int]] = field(default_factory=list)

    @property
    def sent(self) -> list[int]:
        """The sequences on the topic of `SHARD`, in their order."""
        return [
            int(dict(each["headers"])["ce_sequence"])
            for each in self.world.sent
            if each["partition"] == SHARD
        ]

    async def all_are_sent(self, count: int) -> bool:
        return len(self.world.sent) >= count


@pytest.fixture
async def served(world: World, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Return a process that publishes; its log is read once a minute unless memory cannot tell."""
    monkeypatch.setattr("services.runtime.flow.publishing.relay.POLL_SECONDS", 60)
    monkeypatch.setattr("services.runtime.flow.publishing.relay.RETRY_SECONDS", 0.01)
    relay = world.relay()

    def committed(recorded: Recorded) -> None:
        relay.add(recorded.events)

    processor = Toy().processor()
    intake = Intake(
        log=world.log,
        processor=processor,
        journal=Journal(processor, on_committed=committed),
        shard_count=SHARDS,
        clock=lambda: T0,
    )
    served = Served(world, relay, intake)
    read = world.log.unpublished

    async def counted(source: str, shards: Collection[int], **limits: Any) -> Any:
        served.reads.append(sorted(shards))
        return await read(source, shards, **limits)

    monkeypatch.setattr(world.log, "unpublished", counted)
    return served


async def handled(intake: Intake, offsets: Sequence[int]) -> None:
    for offset in offsets:
        await intake.handle([request(offset, topup_id=f"t-{offset}")])


async def test_what_the_process_commits_goes_out_at_once_and_is_not_read(served: Served) -> None:
    async with running(served.relay):
        await until(lambda: served.all_are_sent(4))
        read = len(served.reads)
        await handled(served.intake, [3, 4])
        await until(lambda: served.all_are_sent(6))
    assert served.sent == [1, 2, 3, 4, 5]
    assert len(served.reads) == read


async def test_what_another_process_wrote_between_goes_out_before(served: Served) -> None:
    async with running(served.relay):
        await until(lambda: served.all_are_sent(4))
        read = len(served.reads)
        await handled(intake_of(served.world.log, Toy().processor()), [3])
        await handled(served.intake, [4])
        await until(lambda: served.all_are_sent(6))
    assert served.sent == [1, 2, 3, 4, 5]
    assert served.reads[read:] == [[SHARD]]


async def test_what_was_not_acknowledged_is_read_from_the_log_again(served: Served) -> None:
    served.world.producers = [
        FakeProducer(served.world.sent, fails_after=4),
        FakeProducer(served.world.sent),
    ]
    async with running(served.relay):
        await until(lambda: served.all_are_sent(4))
        read = len(served.reads)
        await handled(served.intake, [3, 4])
        await until(lambda: served.all_are_sent(8))
    assert served.sent == [1, 2, 3, 4, 5, 4, 5]
    assert len(served.reads) == read + 1
    assert len(served.world.made) == 2


async def test_shard_that_was_another_processes_meanwhile_is_read_from_the_log(
    served: Served,
) -> None:
    """What this process had not published of it by then, the other one has."""
    async with running(served.relay):
        await until(lambda: served.all_are_sent(4))
        served.world.shards = frozenset({OTHER_SHARD})
        await handled(served.intake, [3])
        await handled_elsewhere(served, [4])
        served.world.shards = frozenset(range(SHARDS))
        await handled(served.intake, [5])
        await until(lambda: served.all_are_sent(5))
    assert served.sent == [1, 2, 3, 6]


async def handled_elsewhere(served: Served, offsets: Sequence[int]) -> None:
    """Have another process record and publish."""
    await handled(intake_of(served.world.log, Toy().processor()), offsets)
    end = (await served.world.log.ends())[SHARD]
    await served.world.log.mark_published({SHARD: end})

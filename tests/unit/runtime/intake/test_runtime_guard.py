"""What cannot be handled holds up its own shard at most: no other record, no other shard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
import structlog

from schemas.topics import LEDGER, REQUESTS
from services.runtime.errors import Halt, Park, Poison, Transient, VersionConflict
from services.runtime.flow.intake.guard import ATTEMPTS_MAX, CONFLICTS_MAX, ShardGuard
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.result import IntakeResult
from services.runtime.processor import Filed, Processor
from tests.unit.runtime.toy import (
    ACCOUNT,
    OTHER_ACCOUNT,
    SHARD,
    Record,
    Toy,
    begin,
    intake_of,
    low_balance,
    memory_log,
    request,
    streams_of,
)

WALLET = f"wallet/{ACCOUNT}"
OWN = (LEDGER.name, SHARD)
HERE = (REQUESTS.name, SHARD)
ELSEWHERE = (SHARD + 1) % 4


class World:
    """A toy service with a guard."""

    def __init__(self, processor: Processor) -> None:
        self.log = memory_log()
        self.intake: Intake = intake_of(self.log, processor)
        self.guard = ShardGuard(log=self.log, intake=self.intake, logger=structlog.get_logger())

    async def handle(self, *records: Record) -> IntakeResult:
        """Handle a batch as often as it takes until it is recorded."""
        result = await self.guard.handle(records)
        for place, offset in result.seeks.items():
            self.intake.sought(place, offset)
        return result

    async def settle(self, *records: Record) -> None:
        """Deliver a batch as Kafka would, from the cursors on, until all of it is dealt with."""
        for _ in range(2 * CONFLICTS_MAX):
            cursors = await self.log.cursors()
            left = [each for each in records if each.offset >= cursors[each.topic, each.partition]]
            with suppress(Transient):
                if not left or (await self.handle(*left)).pauses:
                    return

    async def letters(self) -> list[str]:
        return [letter.reason for letter in self.log._tables.dead_letters.values()]  # noqa: SLF001

    async def reason(self) -> str | None:
        [*parkings] = await self.log.parkings()
        return parkings[0].reason if parkings else None


@pytest.fixture
def toy() -> Toy:
    return Toy(
        troubles={
            13: RuntimeError("boom"),
            14: Poison("unlucky", "use another amount"),
            15: Park("contradiction", "mend it"),
            16: Halt("stop"),
        }
    )


@pytest.fixture
async def world(toy: Toy) -> World:
    world = World(toy.processor())
    await begin(world.log)
    return world


async def test_gap_parks_its_shard_keeps_what_was_before_it_and_lets_the_others_go_on(
    world: World,
) -> None:
    other = request(0, account_id=OTHER_ACCOUNT, topup_id="t-2")
    result = await world.handle(
        low_balance(1), low_balance(3, offset=1), low_balance(4, offset=2), request(0), other
    )
    [parking] = await world.log.parkings()
    assert (parking.shard, parking.reason, parking.sequence) == (SHARD, "sequence_gap", 3)
    assert (parking.topic, parking.partition, parking.record_offset) == (*OWN, 1)
    assert parking.event_type == "billing.LowBalanceDetected.v1"
    assert result.outcomes == {"applied": 3}
    assert result.events == 3
    assert result.pauses == {OWN}
    assert result.seeks == {OWN: 1}
    assert await streams_of(world.log, WALLET, "order/t-1", "order/t-2") == [1, 1, 1]
    assert (await world.log.cursors())[OWN] == 1
    assert await world.letters() == []


async def test_parked_shard_stands_still_in_all_its_partitions_and_goes_on_when_it_may(
    world: World,
) -> None:
    await world.handle(low_balance(2, offset=0))
    result = await world.handle(
        request(0), request(0, account_id=OTHER_ACCOUNT, topup_id="t-2"), low_balance(1)
    )
    assert result.pauses == {HERE, OWN}
    assert result.seeks == {HERE: 0, OWN: 0}
    assert result.outcomes == {"applied": 1}
    assert await streams_of(world.log, "order/t-1", "order/t-2") == [0, 1]
    async with world.log.transaction(shards={SHARD}) as tx:
        await tx.unpark(SHARD, "resumed")
    result = await world.handle(request(0), low_balance(1))
    assert result.outcomes == {"applied": 2}
    assert not result.pauses


async def test_request_for_a_parked_shard_in_another_partition_waits_in_its_place(
    world: World,
) -> None:
    await world.handle(low_balance(2, offset=0))
    first, second = (request(n, partition=ELSEWHERE, topup_id=f"t-{n}") for n in range(2))
    other = request(2, partition=ELSEWHERE, account_id=OTHER_ACCOUNT, topup_id="t-9")
    result = await world.handle(first, second, other)
    assert result.outcomes == {"dead_lettered:shard_parked": 2, "applied": 1}
    kept = world.log._tables.dead_letters.values()  # noqa: SLF001
    assert [letter.parked_shard for letter in kept] == [SHARD, SHARD]
    with pytest.raises(Poison, match="shards list"):
        await world.intake.redrive(first)
    await world.intake.redrive(first, resuming=True)
    assert await streams_of(world.log, "order/t-0", "order/t-1", "order/t-9") == [1, 0, 1]


async def test_missing_event_is_taken_though_its_shard_is_parked(world: World) -> None:
    await world.handle(low_balance(2, offset=0))
    assert (await world.intake.redrive(low_balance(1))).outcomes == {"applied": 1}
    async with world.log.transaction(shards={SHARD}) as tx:
        await tx.unpark(SHARD, "resumed")
    assert (await world.handle(low_balance(2, offset=0))).outcomes == {"applied": 1}


@pytest.mark.parametrize(
    ("amount", "reason"), [(13, "handler_error"), (14, "unlucky"), (15, "contradiction")]
)
async def test_event_of_a_service_that_cannot_be_handled_parks_its_shard(
    world: World, amount: int, reason: str
) -> None:
    batch = [low_balance(1), low_balance(2, amount=amount), request(0)]
    await world.settle(*batch)
    [parking] = await world.log.parkings()
    assert (parking.reason, parking.sequence) == (reason, 2)
    assert (await world.log.cursors())[OWN] == 1
    assert await streams_of(world.log, WALLET, "order/t-1") == [1, 1]
    assert await world.letters() == []


async def test_request_that_fails_is_a_dead_letter_and_parks_nothing(world: World) -> None:
    batch = [request(0), request(1, topup_id="t-2", amount=13), request(2, topup_id="t-3")]
    await world.settle(*batch)
    assert await world.letters() == ["handler_error"]
    assert await world.log.parkings() == []
    assert await streams_of(world.log, "order/t-1", "order/t-2", "order/t-3") == [1, 0, 1]


async def test_request_that_shows_a_trouble_of_its_shard_parks_it(world: World) -> None:
    result = await world.handle(request(0), request(1, amount=15), request(2))
    assert result.outcomes == {"applied": 1}
    assert (await world.log.cursors())[HERE] == 1
    assert await world.reason() == "contradiction"


async def test_strangers_on_a_topic_of_ours_are_dead_letters_however_many(world: World) -> None:
    empty = Record(LEDGER.name, SHARD, 0, b"", b"", ())
    strangers = [replace(empty, offset=offset) for offset in range(50)]
    strangers += [
        low_balance(9, offset=50).having("ce_source", b"/upstream/forger"),
        low_balance(9, offset=51).without("ce_sequence"),
        replace(low_balance(9, offset=52), partition=ELSEWHERE),
    ]
    world.intake.sought((LEDGER.name, ELSEWHERE), 0)
    await world.handle(*strangers)
    assert len(await world.letters()) == 53
    assert await world.log.parkings() == []
    result = await world.handle(low_balance(1, offset=52))
    assert result.outcomes == {"applied": 1}


async def test_unreadable_event_of_a_service_parks_its_shard_only_in_its_turn(
    world: World,
) -> None:
    unreadable = low_balance(2)
    unreadable.value = b"{"
    await world.handle(low_balance(1), unreadable)
    assert await world.reason() == "body_invalid"
    assert (await world.log.cursors())[OWN] == 1
    async with world.log.transaction(shards={SHARD}) as tx:
        await tx.unpark(SHARD, "resumed")
    repeat = low_balance(1, offset=1)
    repeat.value = b"{"
    assert (await world.handle(repeat)).outcomes == {"ignored:duplicate_sequence": 1}


async def test_failure_that_names_no_record_is_found_and_parks_one_shard(toy: Toy) -> None:
    async def project(_tx: object, appended: Sequence[Filed], _handled: object) -> None:
        if any(filed.stored.stream_id == WALLET for filed in appended):
            message = "out of range"
            raise OverflowError(message)

    world = World(replace(toy.processor(), project=project))
    await begin(world.log)
    batch = [request(0), low_balance(1), request(0, account_id=OTHER_ACCOUNT, topup_id="t-2")]
    await world.settle(*batch)
    assert await world.reason() == "handler_error"
    assert await streams_of(world.log, WALLET, "order/t-1", "order/t-2") == [0, 1, 1]


async def test_halt_and_transient_failures_come_out(world: World, toy: Toy) -> None:
    with pytest.raises(Halt, match="stop"):
        await world.handle(request(0, amount=16))
    toy.troubles = {13: Transient("not now"), 12: VersionConflict("first")}
    for _ in range(ATTEMPTS_MAX + 1):
        with pytest.raises(Transient, match="not now"):
            await world.handle(request(0, amount=13), request(1))
    assert await world.letters() == []


async def test_conflict_that_never_ends_parks_the_shard_after_some_attempts(
    world: World, toy: Toy
) -> None:
    toy.troubles = {12: VersionConflict("another writer was first")}
    batch = [low_balance(1, amount=12), request(0, account_id=OTHER_ACCOUNT, topup_id="t-2")]
    for _ in range(3):
        await world.settle(*batch)
    assert await world.reason() == "version_conflict"
    assert await streams_of(world.log, WALLET, "order/t-2") == [0, 1]


async def test_repeat_with_another_id_is_a_conflict_however_old_its_number_is(
    world: World,
) -> None:
    await world.handle(*(low_balance(n) for n in range(1, 6)))
    honest = [low_balance(n, offset=n + 4) for n in range(1, 6)]
    assert (await world.handle(*honest)).outcomes == {"ignored:duplicate_sequence": 5}
    await world.handle(low_balance(2, offset=10, name="another"))
    [parking] = await world.log.parkings()
    assert (parking.reason, parking.sequence) == ("sequence_conflict", 2)


async def test_two_events_with_one_number_in_a_batch_are_a_conflict(world: World) -> None:
    await world.handle(
        low_balance(1), low_balance(2), low_balance(3), low_balance(2, offset=3, name="another")
    )
    assert await world.reason() == "sequence_conflict"
    assert await streams_of(world.log, WALLET) == [3]

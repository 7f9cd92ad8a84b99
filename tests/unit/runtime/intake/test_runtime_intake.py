"""A consumed batch: what is counted once, what is dead-lettered, and what the consumer is told."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from schemas.topics import LEDGER, REQUESTS
from services.runtime.errors import Park, Poison, Transient
from services.runtime.flow.intake.intake import Intake
from services.runtime.log.event_log import Parking
from services.runtime.log.memory_log import MemoryEventLog
from tests.unit.runtime.toy import (
    ACCOUNT,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    Record,
    Toy,
    begin,
    intake_of,
    low_balance,
    memory_log,
    request,
    streams_of,
)

OTHER_PARTITION = (SHARD + 1) % SHARDS
HERE = (REQUESTS.name, SHARD)


@pytest.fixture
async def log() -> MemoryEventLog:
    log = memory_log()
    await begin(log)
    return log


@pytest.fixture
def toy() -> Toy:
    return Toy(troubles={13: RuntimeError("boom"), 14: Poison("unlucky", "use another amount")})


@pytest.fixture
def intake(log: MemoryEventLog, toy: Toy) -> Intake:
    return intake_of(log, toy.processor())


async def dead_letters(log: MemoryEventLog) -> int:
    async with log.transaction() as tx:
        return await tx.open_dead_letters()


def test_parking_says_what_is_known_of_the_record(intake: Intake) -> None:
    park = Park("unlucky", "a test")
    event, asked = low_balance(4, offset=9), request(17)
    assert intake.parking(event, park) == Parking(
        shard=SHARD,
        reason="unlucky",
        detail="a test",
        topic="billing.ledger.v1",
        partition=SHARD,
        record_offset=9,
        event_id=UUID((dict(event.headers)["ce_id"] or b"").decode()),
        event_type="billing.LowBalanceDetected.v1",
        source="/billing/ledger",
        sequence=4,
    )
    assert intake.parking(asked, park) == Parking(
        shard=SHARD,
        reason="unlucky",
        detail="a test",
        topic="billing.requests.v1",
        partition=SHARD,
        record_offset=17,
        event_id=UUID((dict(asked.headers)["ce_id"] or b"").decode()),
        event_type="billing.TopUpRequested.v1",
        source="/upstream/toys",
        sequence=None,
    )
    broken = replace(asked, headers=[], partition=OTHER_PARTITION)
    assert intake.parking(broken, park) == Parking(
        OTHER_PARTITION, "unlucky", "a test", "billing.requests.v1", OTHER_PARTITION, 17
    )


async def test_record_delivered_twice_counts_once(log: MemoryEventLog, intake: Intake) -> None:
    await intake.handle([request(0)])
    result = await intake.handle([request(0), request(1, topup_id="t-2")])
    assert result.outcomes == {"ignored:duplicate_offset": 1, "applied": 1}
    assert await streams_of(log, "order/t-1", "order/t-2") == [1, 1]
    assert not result.seeks


async def test_batch_of_nothing_but_duplicates_sends_the_consumer_ahead_to_the_cursor(
    intake: Intake,
) -> None:
    await intake.handle([request(0), request(1), request(2)])
    result = await intake.handle([request(0), request(1)])
    assert result.outcomes == {"ignored:duplicate_offset": 2}
    assert result.seeks == {HERE: 3}
    assert result.events == 0


async def test_missing_offset_sends_the_consumer_back_and_handles_nothing_beyond_it(
    log: MemoryEventLog, intake: Intake
) -> None:
    result = await intake.handle([request(0), request(2, topup_id="t-2"), request(3)])
    assert result.seeks == {HERE: 1}
    assert result.outcomes == {"applied": 1}
    assert (await log.cursors())[HERE] == 1
    assert await streams_of(log, "order/t-2") == [0]


async def test_offset_still_missing_after_a_real_seek_holds_no_record_and_is_passed(
    log: MemoryEventLog, intake: Intake
) -> None:
    await intake.handle([request(2)])
    assert (await intake.handle([request(2)])).seeks == {HERE: 0}
    intake.sought(HERE, 0)
    result = await intake.handle([request(2)])
    assert result.outcomes == {"applied": 1}
    assert not result.seeks
    assert (await log.cursors())[HERE] == 3


async def test_a_later_hole_is_sought_again_though_an_earlier_one_was_accepted(
    intake: Intake,
) -> None:
    intake.sought(HERE, 0)
    result = await intake.handle([request(2), request(5)])
    assert result.outcomes == {"applied": 1}
    assert result.seeks == {HERE: 3}


async def test_hole_in_one_partition_does_not_hold_up_the_others(
    log: MemoryEventLog, intake: Intake
) -> None:
    other = request(0, account_id=OTHER_ACCOUNT, topup_id="t-2")
    result = await intake.handle([request(4), other, low_balance(1)])
    assert result.seeks == {HERE: 0}
    assert result.outcomes == {"applied": 2}
    cursors = await log.cursors()
    assert cursors[HERE] == 0
    assert cursors[REQUESTS.name, other.partition] == 1
    assert cursors[LEDGER.name, SHARD] == 1


async def test_partition_without_cursor_is_tried_again(toy: Toy) -> None:
    with pytest.raises(Transient, match="no cursor"):
        await intake_of(memory_log(), toy.processor()).handle([request(0)])


async def test_event_of_a_service_published_twice_counts_once_by_its_sequence(
    log: MemoryEventLog, intake: Intake
) -> None:
    batch = [low_balance(1), low_balance(2), low_balance(1, offset=2), low_balance(2, offset=3)]
    result = await intake.handle([*batch, low_balance(3, offset=4)])
    assert result.outcomes == {"applied": 3, "ignored:duplicate_sequence": 2}
    assert await streams_of(log, f"wallet/{ACCOUNT}") == [3]
    assert (await log.cursors())[LEDGER.name, SHARD] == 5


async def test_missing_sequence_names_its_record_and_nothing_of_the_batch_is_recorded(
    log: MemoryEventLog, intake: Intake
) -> None:
    gap = low_balance(3, offset=1)
    with pytest.raises(Park, match="missing") as parked:
        await intake.handle([low_balance(1), gap])
    assert (parked.value.reason, parked.value.record) == ("sequence_gap", gap)
    assert await streams_of(log, f"wallet/{ACCOUNT}") == [0]
    assert await dead_letters(log) == 0


async def test_another_event_with_a_taken_sequence_parks_its_shard(intake: Intake) -> None:
    await intake.handle([low_balance(1)])
    with pytest.raises(Park, match="forged") as parked:
        await intake.handle([low_balance(1, offset=1, name="other")])
    assert parked.value.reason == "sequence_conflict"


@pytest.mark.parametrize(
    "batch",
    [
        [low_balance(2), low_balance(1, offset=2, name="other")],
        [low_balance(2), low_balance(2, offset=2, name="other")],
    ],
    ids=["behind the next one", "at once behind itself"],
)
async def test_taken_sequence_is_known_within_a_batch(intake: Intake, batch: list[Record]) -> None:
    await intake.handle([low_balance(1)])
    with pytest.raises(Park, match="forged") as parked:
        await intake.handle(batch)
    assert (parked.value.reason, parked.value.record) == ("sequence_conflict", batch[1])


async def test_last_event_of_a_service_is_known_though_its_number_was_not_kept(
    log: MemoryEventLog, intake: Intake
) -> None:
    await intake.handle([low_balance(1)])
    log._tables.taken.clear()  # noqa: SLF001 - as a log that was begun before numbers were kept
    with pytest.raises(Park, match="forged"):
        await intake.handle([low_balance(1, offset=1, name="other")])
    assert (await intake.handle([low_balance(1, offset=1)])).outcomes == {
        "ignored:duplicate_sequence": 1
    }


async def test_unreadable_event_of_a_service_parks_its_shard_and_says_why(
    log: MemoryEventLog, intake: Intake
) -> None:
    unreadable = low_balance(1)
    unreadable.value = b"[1"
    with pytest.raises(Park) as parked:
        await intake.handle([unreadable])
    assert parked.value.reason == "body_invalid"
    assert "not JSON" in str(parked.value)
    assert await dead_letters(log) == 0


async def test_ignored_event_of_a_service_moves_its_sequence(intake: Intake) -> None:
    result = await intake.handle([low_balance(1, amount=1), low_balance(2)])
    assert result.outcomes == {"ignored:nothing_to_count": 1, "applied": 1}


async def test_event_of_a_service_that_nobody_handles_moves_its_sequence(
    intake: Intake,
) -> None:
    unhandled = low_balance(1).having("ce_type", b"billing.WalletCharged.v1")
    result = await intake.handle([unhandled, low_balance(2)])
    assert result.outcomes == {"ignored:not_handled_here": 1, "applied": 1}


async def test_poison_among_good_records_keeps_the_good_ones(
    log: MemoryEventLog, intake: Intake
) -> None:
    batch = [request(0), request(1), request(2, amount=14), request(3, topup_id="t-2")]
    batch[1].value = b"\xff"
    result = await intake.handle(batch)
    assert result.outcomes == {
        "applied": 2,
        "dead_lettered:body_invalid": 1,
        "dead_lettered:unlucky": 1,
    }
    assert await streams_of(log, "order/t-1", "order/t-2") == [1, 1]
    assert await dead_letters(log) == 2
    kept = log._tables.dead_letters.values()  # noqa: SLF001 - what a table would show
    assert [letter.parked_shard for letter in kept] == [None, None]
    assert (await log.cursors())[HERE] == 4


async def test_transient_failure_while_deciding_is_never_dead_lettered(log: MemoryEventLog) -> None:
    toy = Toy(troubles={13: Transient("not now")})
    intake = intake_of(log, toy.processor())
    for _ in range(5):
        with pytest.raises(Transient, match="not now"):
            await intake.handle([request(0), request(1, amount=13)])
    assert (await log.cursors())[HERE] == 0
    assert await dead_letters(log) == 0
    assert await streams_of(log, "order/t-1") == [0]


async def test_request_in_a_wrong_partition_is_recorded_under_the_shard_of_its_account(
    log: MemoryEventLog, intake: Intake
) -> None:
    wrong = (SHARD + 1) % SHARDS
    await intake.handle([request(0, partition=wrong)])
    async with log.transaction(shards=range(SHARDS)) as tx:
        stored = (await tx.load_streams(["order/t-1"]))["order/t-1"]
        assert [event.shard for event in stored] == [SHARD]
        assert tx.heads[wrong].position == 0
    assert (await log.cursors())[REQUESTS.name, wrong] == 1


async def test_id_of_another_shards_account_is_answered_once_in_a_stream_of_its_own(
    log: MemoryEventLog, intake: Intake, toy: Toy
) -> None:
    await intake.handle([request(0, account_id=OTHER_ACCOUNT)])
    thief = request(0)
    assert (await intake.handle([thief])).outcomes == {"applied": 1}
    assert toy.seen == [0, 1]
    [refused] = await refused_streams(log)
    assert await streams_of(log, "order/t-1", refused) == [1, 1]
    thief.offset = 1
    again = await intake.handle([thief])
    assert again.outcomes == {"ignored:already_refused": 1}
    assert await streams_of(log, "order/t-1", refused) == [1, 1]
    async with log.transaction() as tx:
        [stored] = (await tx.load_streams([refused]))[refused]
    assert (stored.shard, stored.account_id) == (SHARD, ACCOUNT)


async def test_every_account_that_asks_for_a_foreign_stream_is_answered_whatever_id_it_uses(
    log: MemoryEventLog, intake: Intake
) -> None:
    await intake.handle([request(0, account_id=OTHER_ACCOUNT)])
    asked = [request(0), request(1, amount=6), request(2).having("ce_source", b"/upstream/b")]
    for record in asked:
        record.having("ce_id", b"00000000-0000-4000-8000-000000000001")
    assert (await intake.handle(asked)).outcomes == {"applied": 3}
    assert len(await refused_streams(log)) == 3


async def refused_streams(log: MemoryEventLog) -> list[str]:
    """Return the streams of requests that were refused in SHARD."""
    found = await log.unpublished("/billing/orders", [SHARD], limit=10)
    return [event.stream_id for event in found[SHARD].events if event.stream_id[:8] == "refused/"]


async def test_redriven_dead_letter_is_handled_outside_of_cursor_and_sequence_holes(
    log: MemoryEventLog, intake: Intake
) -> None:
    result = await intake.redrive(request(77))
    assert result.outcomes == {"applied": 1}
    assert (await log.cursors())[HERE] == 0
    with pytest.raises(Poison) as refused:
        await intake.redrive(request(78, amount=14))
    assert refused.value.reason == "unlucky"
    assert await dead_letters(log) == 0

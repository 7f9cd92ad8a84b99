"""Dead letters in Postgres: kept as they arrived, handled again when asked, or closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.errors import Park, Poison
from services.runtime.flow.operator.parking import ParkedShardTable
from services.runtime.log.event_log import Parking
from tests.integration.toy_database import ToyDatabase, hostile, open_toy_database
from tests.unit.runtime.toy import SHARD, SHARDS, Toy, request, until

UNLUCKY = Poison("unlucky", "use another amount")


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    async with open_toy_database(fresh_database, Toy(troubles={14: UNLUCKY})) as database:
        yield database


async def test_record_of_any_bytes_is_kept_as_it_arrived(toys: ToyDatabase) -> None:
    record = hostile()
    await toys.dead_letter(record)
    [letter] = await toys.letters.listed()
    kept = letter.record()
    assert (kept.topic, kept.partition, kept.offset) == (record.topic, record.partition, 0)
    assert (kept.key, kept.value) == (record.key, record.value)
    assert list(kept.headers) == [
        ("ce_id", None),
        ("ce_id", b"\xff\x00"),
        ("name\\x00of\x01header", b""),
    ]
    assert letter.reason == "header_null"
    assert "lin@" not in letter.detail


async def test_record_without_key_and_value_is_kept(toys: ToyDatabase) -> None:
    record = request()
    record.key = record.value = None
    await toys.dead_letter(record)
    [letter] = await toys.letters.listed()
    assert (letter.reason, letter.key, letter.value) == ("null_value", None, None)


async def test_dead_letter_is_unpublished_until_it_is_marked(toys: ToyDatabase) -> None:
    await toys.dead_letter(request(0, amount=14), request(1, amount=14))
    first, second = await toys.letters.unpublished()
    await toys.letters.mark_published([first])
    assert [each.record_offset for each in await toys.letters.unpublished()] == [
        second.record_offset
    ]


async def test_letter_that_has_the_number_of_another_one_is_not_marked_for_it(
    toys: ToyDatabase,
) -> None:
    """A database that was put back gives the numbers of its letters again."""
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.unpublished()
    for lost in (
        replace(letter, record_offset=9),
        replace(letter, partition=letter.partition + 1),
        replace(letter, topic="elsewhere"),
    ):
        await toys.letters.mark_published([lost])
    assert len(await toys.letters.unpublished()) == 1


async def test_redriven_record_is_applied_when_the_cause_is_mended(toys: ToyDatabase) -> None:
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.listed()
    assert await toys.letters.ask_redrive([letter.dead_letter_id]) == 1
    assert [each.dead_letter_id for each in await toys.letters.asked()] == [letter.dead_letter_id]
    toys.toy.troubles = {}
    async with toys.redriving():
        await until(lambda: _none_asked(toys))
    closed = await toys.letters.one(letter.dead_letter_id)
    assert closed is not None
    assert (closed.closed_as, closed.closed_note) == ("redriven", "applied")
    assert await toys.count("order/t-1") == 1
    assert await toys.letters.listed() == []
    assert [each.closed_as for each in await toys.letters.listed(include_closed=True)] == [
        "redriven"
    ]


async def test_redriven_record_that_fails_again_stays_open_with_the_newer_reason(
    toys: ToyDatabase,
) -> None:
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.listed()
    await toys.letters.ask_redrive([letter.dead_letter_id])
    toys.toy.troubles = {14: Poison("unluckier", "ask again")}
    async with toys.redriving():
        await until(lambda: _none_asked(toys))
    [again] = await toys.letters.listed()
    assert (again.reason, again.detail, again.attempts) == ("unluckier", "ask again", 2)
    assert again.closed_at is None
    assert await toys.count("order/t-1") == 0


async def test_record_with_an_unforeseen_error_is_tried_and_stays_open(toys: ToyDatabase) -> None:
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.listed()
    await toys.letters.ask_redrive([letter.dead_letter_id])
    toys.toy.troubles = {14: RuntimeError("boom")}
    async with toys.redriving():
        await until(lambda: _none_asked(toys))
    [again] = await toys.letters.listed()
    assert again.reason == "handler_error"


async def test_what_waits_for_a_parked_shard_is_taken_in_order_before_it_goes_on(
    toys: ToyDatabase,
) -> None:
    parked_shards = ParkedShardTable(toys.pool)
    async with toys.log.transaction(shards={SHARD}) as tx:
        await tx.park(Parking(SHARD, "sequence_gap", "a test"))
    elsewhere = (SHARD + 1) % SHARDS
    await toys.dead_letter(*(request(n, partition=elsewhere, amount=n + 5) for n in range(2)))
    [asked] = await parked_shards.ask([SHARD], "mended", set_aside=False)
    toys.toy.troubles = {6: Park("contradiction", "mend more")}

    async def answered() -> bool:
        found = await parked_shards.one(asked.parking_id)
        return found is not None and found.resume_answer is not None

    async with toys.redriving():
        await until(answered)
        [still] = await parked_shards.listed()
        assert (still.resume_answer, still.resumed_at) == ("mend more", None)
        assert await toys.count("order/t-1") == 1
        toys.toy.troubles = {}
        await parked_shards.ask(None, "mended more", set_aside=False)
        await until(answered)
    assert await parked_shards.listed() == []
    [parked] = await parked_shards.listed(include_resumed=True)
    assert (parked.resume_answer, parked.resume_reason) == ("resumed", "mended more")
    assert await toys.count("order/t-1") == 2
    assert await toys.letters.listed() == []


async def test_discarded_record_is_kept_closed_and_cannot_be_redriven(toys: ToyDatabase) -> None:
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.listed()
    await toys.letters.close(letter.dead_letter_id, "discarded", "a test")
    assert await toys.letters.ask_redrive([letter.dead_letter_id]) == 0
    assert await toys.letters.listed() == []
    await toys.letters.close(letter.dead_letter_id, "redriven", "too late")
    kept = await toys.letters.one(letter.dead_letter_id)
    assert kept is not None
    assert (kept.closed_as, kept.closed_note, kept.value) == ("discarded", "a test", letter.value)
    assert kept.closed_at is not None
    assert datetime.now(UTC) - kept.closed_at < timedelta(minutes=5)


async def test_closed_dead_letters_do_not_count_against_the_limit(toys: ToyDatabase) -> None:
    await toys.dead_letter(request(0, amount=14))
    [letter] = await toys.letters.listed()
    await toys.letters.close(letter.dead_letter_id, "discarded", "a test")
    async with toys.log.transaction() as tx:
        assert await tx.open_dead_letters() == 0


async def test_dead_letter_that_does_not_exist_is_none(toys: ToyDatabase) -> None:
    assert await toys.letters.one(4711) is None


async def _none_asked(toys: ToyDatabase) -> bool:
    return not await toys.letters.asked()

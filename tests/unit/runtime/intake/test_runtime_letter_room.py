"""How many dead letters of outsiders are kept whole, and where the rest is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.topics import ORDERS, REQUESTS
from services.runtime.errors import Poison, Transient
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.letters.letter_room import (
    OTHER_SOURCES,
    PER_ACCOUNT_MAX,
    PER_SOURCE_MAX,
    SOURCES_MAX,
    LetterRoom,
)
from services.runtime.flow.letters.letter_topic import letter_message
from services.runtime.flow.letters.letters import RefusedRecord, dead_letter
from services.runtime.log.event_log import DeadLetter
from services.runtime.log.memory_log import MemoryEventLog
from tests.controls import T0
from tests.unit.runtime.toy import (
    SHARD,
    SHARDS,
    TOPICS,
    Record,
    Toy,
    begin,
    intake_of,
    memory_log,
    request,
)

LATER = T0 + timedelta(seconds=6)


class Topic:
    """The dead-letter topic."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.works = True

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        if not self.works:
            message = "no broker"
            raise Transient(message)
        self.letters += letters


def letters(
    count: int,
    *,
    source: str = "/upstream/mad",
    account: str | None = None,
    first: int = 0,
    topic: str = REQUESTS.name,
) -> list[DeadLetter]:
    return [
        DeadLetter(
            *(topic, 0, n, None, b"x", (), "body_invalid", "", 1, T0),
            source=source,
            account_id=account or f"acct-{source}-{n}",
        )
        for n in range(first, first + count)
    ]


def refused(count: int) -> list[RefusedRecord]:
    """Return records of a source that is known for bad ones."""
    poison = Poison("body_invalid", "not JSON")
    records = [request(9_000 + n) for n in range(count)]
    for record in records:
        record.headers = [("ce_source", b"/upstream/mad")]
    return [RefusedRecord(record, poison) for record in records]


async def keep(log: MemoryEventLog, room: LetterRoom, kept: Sequence[DeadLetter]) -> None:
    async with log.transaction() as tx:
        await room.keep(tx, kept, T0)


def open_letters(log: MemoryEventLog) -> list[DeadLetter]:
    return list(log._tables.dead_letters.values())  # noqa: SLF001 - what a table would show


def overflow(log: MemoryEventLog) -> dict[tuple[str, str], int]:
    rows = log._tables.overflow.values()  # noqa: SLF001 - as above
    return {(row.source, row.reason): row.letters for row in rows}


async def test_source_beyond_its_room_is_counted_and_whole_on_the_topic_and_others_have_theirs() -> (
    None
):
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    await keep(log, room, letters(PER_SOURCE_MAX + 30))
    await keep(log, room, letters(7, first=9_000))
    await keep(log, room, letters(3, source="/upstream/good", first=99_000))
    assert len(open_letters(log)) == PER_SOURCE_MAX + 3
    assert overflow(log) == {("/upstream/mad", "body_invalid"): 37}
    assert len(topic.letters) == 37
    assert all(letter.value == b"x" for letter in topic.letters)


async def test_one_account_does_not_use_up_the_room_of_its_source() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    await keep(log, room, letters(PER_ACCOUNT_MAX + 5, account="acct-mad"))
    await keep(log, room, letters(5, first=9_000))
    assert len(open_letters(log)) == PER_ACCOUNT_MAX + 5
    assert len(topic.letters) == 5


async def test_invented_sources_share_one_room_so_the_table_is_bounded() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    for n in range(SOURCES_MAX + 10):
        await keep(log, room, letters(PER_SOURCE_MAX, source=f"/upstream/s{n}", first=n * 10_000))
    assert len(open_letters(log)) == (SOURCES_MAX + 1) * PER_SOURCE_MAX
    assert set(overflow(log)) == {(OTHER_SOURCES, "body_invalid")}


async def test_forgeries_on_a_topic_of_ours_have_no_more_room_than_other_rubbish() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    forged = letters(PER_SOURCE_MAX + 10, source="/billing/orders", topic=ORDERS.name)
    await keep(log, room, forged)
    await keep(log, room, letters(3, first=9_000))
    assert len(open_letters(log)) == PER_SOURCE_MAX + 3
    assert overflow(log) == {("/billing/orders", "body_invalid"): 10}


async def test_room_that_a_person_made_is_used_again_and_a_new_process_counts_what_is_open() -> (
    None
):
    log, topic = memory_log(), Topic()
    await keep(log, LetterRoom(topic.publish, TOPICS), letters(PER_SOURCE_MAX))
    room = LetterRoom(topic.publish, TOPICS)
    await keep(log, room, letters(1, first=9_000))
    assert len(topic.letters) == 1
    log._tables.dead_letters.clear()  # noqa: SLF001 - what discarding does
    async with log.transaction() as tx:
        await room.keep(tx, letters(1, first=9_001), LATER)
    assert len(open_letters(log)) == 1


async def test_what_the_topic_does_not_take_moves_no_cursor() -> None:
    log, topic = memory_log(), Topic()
    topic.works = False
    await begin(log)
    await keep(
        log, LetterRoom(topic.publish, TOPICS), letters(PER_SOURCE_MAX, source="/upstream/toys")
    )
    intake = intake_of(log, Toy().processor())
    intake._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    record = request(0)
    record.value = b"{"
    with pytest.raises(Transient):
        await intake.handle([record])
    assert (await log.cursors())[record.topic, record.partition] == 0
    topic.works = True
    await intake.handle([record])
    assert (await log.cursors())[record.topic, record.partition] == 1
    assert [letter.record_offset for letter in topic.letters] == [0]


async def test_bad_requests_never_halt() -> None:
    log, topic = memory_log(), Topic()
    await begin(log)
    intake = intake_of(log, Toy().processor())
    intake._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    bad = [request(n) for n in range(1_200)]
    for record in bad:
        record.value = b"{"
    result = await intake.handle(bad)
    assert result.outcomes == {"dead_lettered:body_invalid": 1_200}
    assert (await log.cursors())[REQUESTS.name, bad[0].partition] == 1_200
    assert len(open_letters(log)) == PER_ACCOUNT_MAX


async def test_what_surely_has_no_room_is_sent_before_any_lock_and_counted_under_it() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    early = refused(5)
    assert await room.send_ahead(early, T0) == {}
    await keep(log, room, letters(PER_SOURCE_MAX - 2))
    assert await room.send_ahead(early, T0) == {}
    await keep(log, room, letters(2, first=8_000))
    assert topic.letters == []

    sent = await room.send_ahead(early, T0)
    assert list(sent) == [(each.topic, each.partition, each.offset) for each, _ in early]
    assert topic.letters == list(sent.values())
    # The topic is told what is wrong by its reason alone; no table keeps the rest of these.
    whole = dead_letter(*early[0], T0, TOPICS)
    assert topic.letters[0] == whole._replace(account_id=None, detail="")
    messages = [letter_message(each, each.headers, "orders") for each in (topic.letters[0], whole)]
    assert messages[0] == messages[1]
    async with log.transaction() as tx:
        await room.keep(tx, [*sent.values(), *letters(1, first=9_005)], T0, sent)
    assert [each.record_offset for each in topic.letters] == [*range(9_000, 9_006)]
    assert overflow(log) == {("/upstream/mad", "body_invalid"): 6}
    assert len(open_letters(log)) == PER_SOURCE_MAX


async def test_what_is_wrong_is_put_into_words_only_for_what_a_table_keeps() -> None:
    log, topic, told = memory_log(), Topic(), list[int]()
    room = LetterRoom(topic.publish, TOPICS)

    def poison(number: int) -> Poison:
        def tell() -> str:
            told.append(number)
            return "the words"

        return Poison("body_invalid", tell)

    await keep(log, room, letters(PER_SOURCE_MAX - 1))
    bad = [each._replace(poison=poison(n)) for n, each in enumerate(refused(3))]
    await keep(log, room, [dead_letter(*bad[0], T0, TOPICS)])
    assert open_letters(log)[-1].detail == "the words"
    assert len(await room.send_ahead(bad[1:], T0)) == 2
    assert told == [0]


async def test_account_without_room_is_sent_ahead_though_its_source_has_some() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    [bad] = refused(1)
    account = dead_letter(*bad, T0, TOPICS).account_id
    await keep(log, room, letters(PER_ACCOUNT_MAX - 1, account=account))
    assert await room.send_ahead([bad], T0) == {}
    await keep(log, room, letters(1, account=account, first=8_000))
    assert list(await room.send_ahead([bad], T0)) == [(REQUESTS.name, bad.record.partition, 9_000)]
    assert [each.account_id for each in topic.letters] == [account]


async def test_what_was_counted_too_long_ago_sends_nothing_ahead() -> None:
    log, topic = memory_log(), Topic()
    room = LetterRoom(topic.publish, TOPICS)
    await keep(log, room, letters(PER_SOURCE_MAX))
    assert await room.send_ahead(refused(1), LATER) == {}
    assert topic.letters == []


async def test_flood_is_sent_while_no_transaction_is_open() -> None:
    log, topic = memory_log(), Topic()
    await begin(log)
    await keep(
        log, LetterRoom(topic.publish, TOPICS), letters(PER_SOURCE_MAX, source="/upstream/toys")
    )
    opened: list[int] = []
    transaction = log.transaction

    def noted(**locked: Any) -> Any:
        opened.append(len(topic.letters))
        return transaction(**locked)

    log.transaction = noted  # type: ignore[method-assign]
    intake = intake_of(log, Toy().processor())
    intake._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    for number in range(3):
        record = request(number)
        record.value = b"{"
        await intake.handle([record])
    assert opened == [0, 2, 3]
    assert len(topic.letters) == 3
    assert overflow(log)["/upstream/toys", "body_invalid"] == 3


def bad_request(offset: int) -> Record:
    record = request(offset)
    record.value = b"{"
    return record


async def flooded(topic: Topic, offsets: int) -> tuple[MemoryEventLog, Intake]:
    """Return an intake whose letters all go to `topic`, behind so many bad requests."""
    log = memory_log()
    await begin(log)
    await keep(
        log, LetterRoom(topic.publish, TOPICS), letters(PER_SOURCE_MAX, source="/upstream/toys")
    )
    intake = intake_of(log, Toy().processor())
    intake._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    for offset in range(offsets):
        await intake.handle([bad_request(offset)])
    assert [each.record_offset for each in topic.letters] == [*range(offsets)]
    return log, intake


async def test_bad_requests_that_come_again_behind_the_cursor_have_their_letters_already() -> None:
    topic = Topic()
    _, intake = await flooded(topic, 3)
    await intake.handle([bad_request(n) for n in range(5)])
    assert [each.record_offset for each in topic.letters] == [0, 1, 2, 3, 4]


async def test_bad_requests_beyond_a_gap_have_their_letters_when_they_come_again() -> None:
    topic = Topic()
    _, intake = await flooded(topic, 2)
    result = await intake.handle([bad_request(2), bad_request(5)])
    assert [each.record_offset for each in topic.letters] == [0, 1, 2]
    [(place, wanted)] = result.seeks.items()
    intake.sought(place, wanted)
    await intake.handle([bad_request(5), bad_request(6)])
    assert [each.record_offset for each in topic.letters] == [0, 1, 2, 5, 6]


async def test_what_another_process_has_passed_meanwhile_brings_no_letters_again() -> None:
    topic = Topic()
    log, intake = await flooded(topic, 1)
    other = intake_of(log, Toy().processor())
    other._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    await other.handle([bad_request(n) for n in range(1, 4)])
    result = await intake.handle([bad_request(2), bad_request(3)])
    assert result.outcomes == {"ignored:duplicate_offset": 2}
    assert [each.record_offset for each in topic.letters] == [0, 1, 2, 3]


async def test_process_that_does_not_know_a_cursor_yet_sends_nothing_of_its_partition_ahead() -> (
    None
):
    topic = Topic()
    log, _ = await flooded(topic, 2)
    started = intake_of(log, Toy().processor())
    started._letters = LetterRoom(topic.publish, TOPICS)  # noqa: SLF001 - as the process does
    await started.handle([replace(bad_request(0), partition=(SHARD + 1) % SHARDS)])
    await started.handle([bad_request(n) for n in range(3)])
    places = [(each.partition, each.record_offset) for each in topic.letters]
    assert len(places) == len(set(places)) == 4

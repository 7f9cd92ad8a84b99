"""What each check of a whole log says of a log that is as it was, and of one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.runtime.archive.ranges import Archive, Range
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import (
    Begin,
    ChainCheck,
    Check,
    LogCheck,
    LogHead,
    NumberCheck,
    PositionCheck,
    archive_checks,
    published_check,
)
from tests.unit.runtime.watch.logs import LEDGER, ORDERS, chained, event, where

RESTORE = "stop the service and restore the newest backup that passes; Kafka fills in the rest"
FETCH = (
    "fetch the file from where versions of it are kept: without it, nobody can tell what it held"
)


def seen(check: LogCheck, *events: StoredEvent) -> Check:
    check.look(events[:2])
    check.look(events[2:])
    return check.result()


def heads(**positions: int) -> dict[int, LogHead]:
    """Return heads at positions of shards `s1`, `s2`; their sequence is ten less."""
    return {int(s[1:]): LogHead(at, sequence=at - 10) for s, at in positions.items()}


@pytest.mark.parametrize(
    ("check", "content"),
    [
        (Check("a", "3 events"), {"name": "a", "ok": True, "compared": "3 events"}),
        (
            Check("a", "3 events", "event 2 differs", "restore it"),
            {
                "name": "a",
                "ok": False,
                "compared": "3 events",
                "problem": "event 2 differs",
                "advice": "restore it",
            },
        ),
        (
            Check("a", "3 events", unread="7 events are archived"),
            {"name": "a", "ok": True, "compared": "3 events", "unread": "7 events are archived"},
        ),
        (
            Check("a", "3 events", "event 2 differs"),
            {
                "name": "a",
                "ok": False,
                "compared": "3 events",
                "problem": "event 2 differs",
                "advice": "",
            },
        ),
    ],
    ids=["sound", "with advice", "partly archived", "without advice"],
)
def test_programs_are_told_what_was_compared_and_what_differs(
    check: Check, content: dict[str, object]
) -> None:
    assert check.content() == content


# -- the chain of hashes -----------------------------------------------------------------------------


LOG = chained([event(1), event(2), event(3)])
CHAIN = {1: LogHead(3, LOG[-1].hash)}


def chain(problem: str | None, compared: str = "3 hashes in 1 shards") -> Check:
    return Check("hash chain", compared, problem, RESTORE)


def test_chain_that_leads_to_its_head_is_sound() -> None:
    assert seen(ChainCheck(CHAIN), *LOG) == chain(None)
    assert seen(ChainCheck(CHAIN), *LOG).ok


def test_each_shard_has_a_chain_of_its_own() -> None:
    other = chained([event(1, 2), event(2, 2)])
    both = {2: LogHead(2, other[-1].hash), **CHAIN}
    told = "5 hashes in 2 shards"
    assert seen(ChainCheck(both), LOG[0], other[0], LOG[1], other[1], LOG[2]) == chain(None, told)


def test_first_event_that_is_not_what_was_hashed_is_named() -> None:
    changed = [LOG[0], *(each._replace(body=b"[]") for each in LOG[1:])]
    problem = f"{where(2)} is not what was hashed when it was recorded"
    assert seen(ChainCheck(CHAIN), *changed) == chain(problem)
    assert not seen(ChainCheck(CHAIN), *changed).ok


def test_chain_that_lost_its_end_does_not_lead_to_its_head() -> None:
    problem = "the chain of shard 1 does not end in the hash of its head"
    assert seen(ChainCheck({**CHAIN, 2: LogHead(1, b"x")}), *LOG[:2]) == chain(
        problem, "2 hashes in 2 shards"
    )


def test_first_break_is_told_before_a_wrong_end() -> None:
    problem = f"{where(3)} is not what was hashed when it was recorded"
    assert seen(ChainCheck(CHAIN), LOG[0], LOG[2]) == chain(problem, "2 hashes in 1 shards")


def test_chain_goes_on_behind_what_is_archived() -> None:
    behind = {1: LogHead(3, LOG[-1].hash, begin=Begin(1, LOG[0].hash, 1))}
    assert seen(ChainCheck(behind), *LOG[1:]) == chain(None, "2 hashes in 1 shards")
    assert seen(ChainCheck(behind), *LOG).problem is not None


def test_event_of_a_shard_without_a_head_begins_a_chain() -> None:
    assert seen(ChainCheck({}), *LOG) == chain(None, "3 hashes in 0 shards")


# -- positions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positions", "problem"),
    [
        ((11, 12, 13), None),
        ((11, 13), "position 12 of shard 1 is missing"),
        ((12, 14), "position 11 of shard 1 is missing"),
        ((11, 12), "shard 1 ends at 12 and its head at 13"),
        ((11, 12, 13, 14), "shard 1 ends at 14 and its head at 13"),
    ],
)
def test_missing_position_is_named(positions: tuple[int, ...], problem: str | None) -> None:
    behind = {1: LogHead(13, begin=Begin(10)), 2: LogHead(4, begin=Begin(4))}
    told = seen(PositionCheck(behind), *(event(position) for position in positions))
    assert told == Check("dense positions", "3 positions in 2 shards", problem, RESTORE)


def test_first_shard_that_ends_too_early_is_named() -> None:
    told = seen(PositionCheck(heads(s3=12, s2=11)))
    assert told.problem == "shard 2 ends at 0 and its head at 11"
    assert told.compared == "23 positions in 2 shards"


def test_positions_of_a_shard_without_a_head_begin_at_one() -> None:
    assert seen(PositionCheck({}), event(1, 5), event(2, 5)).problem is None
    assert seen(PositionCheck({}), event(2, 5)).problem == "position 1 of shard 5 is missing"


# -- own numbers -------------------------------------------------------------------------------------


def numbered(*numbers: int) -> list[StoredEvent]:
    return [event(place, sequence=number) for place, number in enumerate(numbers, 1)]


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        ((11, 12), None),
        ((11, 11), f"{where(2)}: its sequence 11 is used twice, 12 was due"),
        ((12, 14), f"{where(1)}: its sequence 12 is not the next one, 11 was due"),
        ((11,), "shard 1 ends at sequence 11, its head at 12"),
        ((11, 12, 13), "shard 1 ends at sequence 13, its head at 12"),
    ],
)
def test_own_number_that_is_not_the_next_one_is_named(
    numbers: tuple[int, ...], problem: str | None
) -> None:
    behind = {1: LogHead(sequence=12, begin=Begin(sequence=10))}
    told = seen(NumberCheck(ORDERS, behind), *numbered(*numbers))
    compared = f"{len(numbers)} numbers of /billing/orders"
    assert told == Check("dense own sequences", compared, problem, RESTORE)


def test_numbers_of_another_service_do_not_count() -> None:
    events = [event(1), event(2, source=LEDGER, sequence=7), event(3, sequence=2)]
    told = seen(NumberCheck(ORDERS, {1: LogHead(sequence=2)}), *events)
    assert told == Check("dense own sequences", "2 numbers of /billing/orders", None, RESTORE)


def test_first_shard_whose_numbers_end_too_early_is_named() -> None:
    told = seen(NumberCheck(ORDERS, heads(s3=12, s2=11)))
    assert told.problem == "shard 2 ends at sequence 0, its head at 1"


def test_numbers_of_a_shard_without_a_head_begin_at_one() -> None:
    assert seen(NumberCheck(ORDERS, {}), event(1, 5), event(2, 5)).problem is None


# -- what is published, and what is archived ---------------------------------------------------------


@pytest.mark.parametrize(
    ("published", "problem"),
    [
        ({1: 4, 2: 5}, None),
        ({2: 6, 1: 5}, None),
        ({2: 7, 1: 6}, "shard 1 is published up to 6 and ends at 5"),
    ],
)
def test_nothing_is_published_beyond_the_log(
    published: dict[int, int], problem: str | None
) -> None:
    ends = {1: 5, 2: 6}
    known = {shard: LogHead(ends[shard], published=at) for shard, at in published.items()}
    assert published_check(known) == Check("published positions", "2 shards", problem, RESTORE)


def archived(shard: int, *ends: int) -> list[Range]:
    return [Range(shard, 1, end, b"", b"", end, f"{end}.jsonl", b"") for end in ends]


def test_log_without_an_archive_is_not_checked_for_one() -> None:
    assert archive_checks(Archive()) == []


def test_archive_that_is_not_read_is_counted_with_what_to_name() -> None:
    archive = Archive({1: archived(1, 3, 5), 2: archived(2, 4)}, None, {2: "a gap", 3: "another"})
    unread = "9 archived events: name the folder of their files with --archive"
    assert archive_checks(archive) == [
        Check("archive", "9 events in 3 files", "a gap", FETCH, unread)
    ]


def test_archive_that_is_read_whole_leaves_nothing_unread(tmp_path: Path) -> None:
    archive = Archive({1: archived(1, 3, 5)}, tmp_path)
    assert archive_checks(archive) == [Check("archive", "5 events in 2 files", None, FETCH)]

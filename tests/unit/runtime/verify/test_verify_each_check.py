"""Each thing that a check of a log looks at, spoiled alone: the check says it, and names the place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.across import ClaimCheck, FiledCheck, MarkCheck
from services.runtime.verify.checks import (
    Begin,
    ChainCheck,
    Check,
    LogCheck,
    LogHead,
    NumberCheck,
    PositionCheck,
    published_check,
)
from services.runtime.verify.slices import SliceMark
from tests.controls import T0
from tests.unit.runtime.watch.logs import LEDGER, ORDERS, chained, event, slices

SHARD: Final = 1
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

LOG: Final = chained([event(number) for number in range(1, 5)])
HEAD: Final = LogHead(4, LOG[-1].hash, 4, published=4)


def checked(check: LogCheck, events: Sequence[StoredEvent] = LOG, *, slices: int = 2) -> str | None:
    """Show a log to a check, some events at a time, and return what it finds."""
    for first in range(0, len(events), slices):
        check.look(events[first : first + slices])
    return check.result().problem


def spoiled(index: int, **changes: Any) -> list[StoredEvent]:
    return [each._replace(**changes) if n == index else each for n, each in enumerate(LOG)]


def checks_of(head: LogHead) -> list[LogCheck]:
    heads = {SHARD: head}
    return [ChainCheck(heads), PositionCheck(heads), NumberCheck(ORDERS, heads)]


@pytest.mark.parametrize("slices", [1, 3, 4])
def test_sound_log_passes_however_it_is_cut(slices: int) -> None:
    assert [checked(check, slices=slices) for check in checks_of(HEAD)] == [None, None, None]
    told = [check.result().compared.split()[0] for check in checks_of(HEAD)]
    assert told == ["0", "4", "0"]


@pytest.mark.parametrize("index", range(len(LOG)))
def test_changed_event_breaks_the_chain_at_its_place(index: int) -> None:
    problem = checked(ChainCheck({SHARD: HEAD}), spoiled(index, body=b"[]"))
    assert problem is not None
    assert problem.startswith(f"shard {SHARD} position {index + 1} ")


def test_changed_hash_breaks_the_chain() -> None:
    assert checked(ChainCheck({SHARD: HEAD}), spoiled(1, hash=b"x" * 32)) is not None


def test_chain_must_end_in_the_head() -> None:
    forged = replace(HEAD, hash=b"x" * 32)
    assert checked(ChainCheck({SHARD: forged})) is not None
    assert checked(ChainCheck({SHARD: HEAD}), LOG[:-1]) is not None
    assert checked(ChainCheck({SHARD: HEAD}), []) is not None


def test_chain_of_one_shard_says_nothing_for_another() -> None:
    heads = {SHARD: HEAD, SHARD + 1: replace(HEAD, hash=b"x" * 32)}
    assert checked(ChainCheck(heads)) is not None


@pytest.mark.parametrize("index", range(len(LOG)))
def test_missing_position_is_named(index: int) -> None:
    problem = checked(PositionCheck({SHARD: HEAD}), LOG[:index] + LOG[index + 1 :])
    last = index == len(LOG) - 1
    assert problem == (
        f"shard {SHARD} ends at {index} and its head at 4"
        if last
        else f"position {index + 1} of shard {SHARD} is missing"
    )


def test_position_used_twice_is_found() -> None:
    assert checked(PositionCheck({SHARD: HEAD}), [*LOG[:2], *LOG[1:]]) is not None


def test_event_beyond_the_head_is_found() -> None:
    beyond = chained([event(number) for number in range(1, 6)])
    assert [checked(check, beyond) is None for check in checks_of(HEAD)] == [False, False, False]


@pytest.mark.parametrize(
    ("sequences", "told"),
    [
        ((1, 2, 2, 3), "used twice"),
        ((1, 2, 4, 5), "not the next one"),
        ((2, 3, 4, 5), "not the next one"),
        ((1, 2, 3, 3), "used twice"),
        ((0, 1, 2, 3), "used twice"),
    ],
)
def test_own_number_that_is_not_the_next_is_found(sequences: tuple[int, ...], told: str) -> None:
    events = [each._replace(sequence=n) for each, n in zip(LOG, sequences, strict=True)]
    check = NumberCheck(ORDERS, {SHARD: replace(HEAD, sequence=sequences[-1])})
    problem = checked(check, events)
    assert problem is not None
    assert told in problem


def test_numbers_of_others_are_theirs() -> None:
    filed = [*LOG[:3], LOG[3]._replace(source=LEDGER, sequence=77)]
    assert checked(NumberCheck(ORDERS, {SHARD: replace(HEAD, sequence=3)}), filed) is None
    assert checked(NumberCheck(LEDGER, {SHARD: replace(HEAD, sequence=77)}), filed) is not None


@pytest.mark.parametrize("sequence", [3, 5])
def test_last_own_number_is_that_of_the_head(sequence: int) -> None:
    head = replace(HEAD, sequence=sequence)
    assert checked(NumberCheck(ORDERS, {SHARD: head})) is not None


def test_log_is_read_on_from_what_is_archived() -> None:
    begin = Begin(10, b"a" * 32, 7)
    rest = chained([event(n, sequence=n - 3) for n in range(11, 14)], begin.hash)
    head = LogHead(13, rest[-1].hash, 10, published=13, archived=10, begin=begin)
    assert [checked(check, rest) for check in checks_of(head)] == [None, None, None]
    spoiled = {
        "position": begin._replace(position=9),
        "hash": begin._replace(hash=b"b" * 32),
        "sequence": begin._replace(sequence=6),
    }
    for name, wrong_begin in spoiled.items():
        other = replace(head, begin=wrong_begin)
        wrong = [checked(check, rest) is not None for check in checks_of(other)]
        assert wrong == [name == "hash", name == "position", name == "sequence"]


def test_nothing_is_published_beyond_the_log() -> None:
    heads = {0: replace(HEAD, published=2), SHARD: HEAD}
    assert published_check(heads).problem is None
    assert published_check(heads | {3: replace(HEAD, published=5)}).problem is not None


# -- what one service took of another ---------------------------------------------------------------

ANOTHER: Final[dict[str, Any]] = {
    "event_id": UUID(int=99),
    "type": "billing.PlanActivated.v2",
    "account_id": "acct-2",
    "correlation_id": "rnw-99",
    "causation_id": None,
    "traceparent": TRACE,
    "occurred_at": T0 + timedelta(microseconds=1),
    "body": b"[]",
    "stream_id": "order/rnw-99",
    "stream_version": 2,
}
OF_EACH_LOG: Final = {"shard", "position", "sequence", "source", "recorded_at", "hash"}
"""Columns that a log gives anew, or by which both events were found."""


def filed(
    published: Sequence[StoredEvent], taken: Sequence[StoredEvent], *, behind: int = 0, up_to: int
) -> Check:
    check = FiledCheck(ORDERS, "wallet/")
    producers, own = slices(*published, at_once=2), slices(*taken, at_once=2)
    asyncio.run(check.compare(SHARD, behind, up_to, producers, own))
    return check.result()


def test_what_was_filed_as_it_was_published_passes() -> None:
    elsewhere = [
        each._replace(position=each.position + 5, recorded_at=T0 + timedelta(days=1))
        for each in LOG
    ]
    mixed = [event(1, source=LEDGER, stream_id="wallet/acct-1"), *elsewhere]
    found = filed(LOG, mixed, up_to=4)
    assert (found.problem, found.compared.split()[0], found.unread) == (None, "4", "")


def test_every_column_is_compared_or_belongs_to_the_log() -> None:
    assert set(StoredEvent._fields) == {*ANOTHER, *OF_EACH_LOG}


@pytest.mark.parametrize("column", ANOTHER)
def test_filed_event_that_differs_in_one_column_is_named(column: str) -> None:
    problem = filed(LOG, spoiled(2, **{column: ANOTHER[column]}), up_to=4).problem
    assert problem is not None
    assert problem.startswith(f"shard {SHARD} sequence 3: ")
    assert f"first difference: {column}" in problem


def test_filed_event_of_a_moved_stream_has_a_place_of_its_own_and_nothing_else() -> None:
    moved: dict[str, Any] = {"stream_id": "wallet/acct-1", "stream_version": 7}
    assert filed(LOG, spoiled(2, **moved), up_to=4).problem is None
    assert filed(LOG, spoiled(2, **moved, body=b"[]"), up_to=4).problem is not None


@pytest.mark.parametrize("index", range(len(LOG)))
def test_event_that_only_one_of_both_holds_is_named(index: int) -> None:
    fewer = LOG[:index] + LOG[index + 1 :]
    lost, made = filed(LOG, fewer, up_to=4).problem, filed(fewer, LOG, up_to=4).problem
    assert lost is not None
    assert "not filed here" in lost
    assert made is not None
    assert "there is no event with that number there" in made
    assert all(f"sequence {index + 1}: " in problem for problem in (lost, made))


def test_only_what_was_taken_is_compared() -> None:
    assert filed(LOG, LOG[:2], up_to=2).problem is None
    assert filed(LOG, LOG[:2], up_to=3).problem is not None


def test_what_the_producer_archived_is_counted_and_not_compared() -> None:
    found = filed(LOG[2:], LOG, behind=2, up_to=4)
    assert (found.problem, found.compared.split()[0]) == (None, "2")
    assert found.unread.startswith("2 filed events")
    assert filed(LOG[2:], LOG, behind=1, up_to=4).problem is not None
    assert filed(LOG, LOG[:1], behind=5, up_to=1).unread.startswith("1 filed events")


def test_all_that_differs_is_counted() -> None:
    others = [each._replace(body=b"[]") for each in LOG]
    assert str(filed(LOG, others, up_to=4).problem).endswith("; 4 events differ")


def marks(sequence: int, event_id: int) -> dict[int, SliceMark]:
    return {SHARD: SliceMark(ORDERS, SHARD, sequence, UUID(int=event_id))}


@pytest.mark.parametrize(
    ("sequence", "event_id", "well"), [(3, 3, True), (3, 4, False), (5, 5, False)]
)
def test_newest_event_that_was_taken_is_the_one_with_its_number(
    sequence: int, event_id: int, *, well: bool
) -> None:
    check = MarkCheck(ORDERS, "ledger", marks(sequence, event_id), {SHARD: HEAD})
    assert (checked(check) is None) is well


def test_number_of_another_source_or_shard_is_not_the_one_that_was_taken() -> None:
    for other in ({"source": LEDGER}, {"shard": SHARD + 1}):
        check = MarkCheck(ORDERS, "ledger", marks(3, 3), {SHARD: HEAD})
        assert checked(check, [each._replace(**other) for each in LOG]) is not None


def test_mark_of_what_is_archived_is_counted_and_one_behind_it_is_not_there() -> None:
    heads = {SHARD: replace(HEAD, begin=Begin(4, b"a" * 32, 4))}
    archived = MarkCheck(ORDERS, "ledger", marks(4, 9), heads)
    assert archived.result().problem is None
    assert archived.result().unread.startswith("1 marks")
    assert MarkCheck(ORDERS, "ledger", marks(5, 9), heads).result().problem is not None


def resting(*shards: tuple[Sequence[StoredEvent], Sequence[StoredEvent]]) -> Check:
    """Show what a consumer has and what producers have, shard by shard."""
    check = ClaimCheck("notifier", lambda stored: stored.causation_id)
    for own, others in shards:
        check.look(own)
        check.found(others)
        check.end_shard()
    return check.result()


CAUSE: Final = event(9, event_id=UUID(int=1001))


def test_what_rests_on_an_event_of_its_account_passes() -> None:
    found = resting(([LOG[0]], [event(8), CAUSE]), ([event(3, causation_id=None)], []))
    assert (found.problem, found.compared.split()[0]) == (None, "1")


@pytest.mark.parametrize("causes", [[], [event(9)], [CAUSE._replace(account_id="acct-2")]])
def test_what_rests_on_nothing_or_on_anothers_event_is_named(causes: list[StoredEvent]) -> None:
    problem = resting(([LOG[0]], causes)).problem
    assert problem is not None
    assert problem.startswith(f"shard {SHARD} position 1 ")


def test_cause_in_another_shard_founds_nothing() -> None:
    assert resting(([LOG[0]], []), ([], [CAUSE])).problem is not None
    told = resting(([LOG[0], LOG[1]], [])).problem
    assert str(told).endswith("; 2 rest on nothing")

"""What a service took from another one, compared with what that one has in its log."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.across import ClaimCheck, FiledCheck, MarkCheck
from services.runtime.verify.checks import Begin, Check, LogHead
from services.runtime.verify.slices import SliceMark
from tests.controls import T0
from tests.unit.runtime.watch.logs import LEDGER, ORDERS, event, slices, where

MINTED = (
    "somebody else wrote to the topic, or a database lost its newest events: stop the services and "
    "follow 'Two events with one number' in docs/OPERATIONS.md before anything is discarded"
)
ID_2, ID_9 = UUID(int=2), UUID(int=9)
EXPIRED_2 = f"billing.OrderExpired.v1 {ID_2}"
LOG = [event(1), event(2), event(3)]


# -- what was filed ----------------------------------------------------------------------------------


def filed_check(
    published: list[StoredEvent], filed: list[StoredEvent], *, behind: int = 0, up_to: int = 3
) -> Check:
    """Compare two logs of shard 1."""
    check = FiledCheck(ORDERS, "wallet/")
    asyncio.run(check.compare(1, behind, up_to, slices(*published), slices(*filed)))
    return check.result()


def filed(compared: int, problem: str | None, unread: str = "") -> Check:
    told = f"{compared} filed events with the log of /billing/orders"
    return Check("filed = orders", told, problem, MINTED, unread)


def test_what_was_filed_is_what_was_published() -> None:
    other = event(4, source=LEDGER)
    assert filed_check([other, *LOG], [*LOG, other]) == filed(3, None)


def test_what_was_published_since_is_not_missing() -> None:
    assert filed_check([*LOG, event(4)], [*LOG, event(5)]) == filed(3, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ID_9),
        ("type", "billing.PlanActivated.v1"),
        ("account_id", "acct-2"),
        ("correlation_id", "other"),
        ("causation_id", None),
        ("traceparent", "00-0"),
        ("occurred_at", T0.replace(year=2025)),
        ("body", b"[]"),
        ("stream_id", "order/other"),
        ("stream_version", 2),
    ],
)
def test_first_field_that_differs_is_named(field: str, value: Any) -> None:
    changed = LOG[1]._replace(**{field: value})
    assert filed_check(LOG, [LOG[0], changed, LOG[2]]) == filed(
        3,
        f"shard 1 sequence 2: filed is {changed.type} {changed.event_id}, /billing/orders has "
        f"{EXPIRED_2} (first difference: {field})",
    )


def test_stream_in_which_the_consumer_numbers_events_itself_is_not_compared() -> None:
    moved = [each._replace(stream_id="wallet/acct-1", stream_version=7) for each in LOG]
    assert filed_check(LOG, moved) == filed(3, None)
    body = [each._replace(body=b"[]") for each in moved]
    assert "first difference: body" in str(filed_check(LOG, body).problem)


def test_event_that_is_not_filed_is_missing_and_one_that_nobody_wrote_is_more() -> None:
    there = "there is no event with that number there"
    assert filed_check(LOG, [LOG[0], LOG[2]]) == filed(
        2,
        f"shard 1 sequence 2: filed is nothing, /billing/orders has {EXPIRED_2} (not filed here)",
    )
    assert filed_check([LOG[0], LOG[2]], LOG) == filed(
        2, f"shard 1 sequence 2: filed is {EXPIRED_2}, /billing/orders has nothing ({there})"
    )


def test_all_that_differ_are_counted_behind_the_first() -> None:
    problem = filed_check(LOG, [LOG[0]]).problem
    assert problem == (
        f"shard 1 sequence 2: filed is nothing, /billing/orders has {EXPIRED_2} (not filed here); "
        "2 events differ"
    )
    assert filed_check([], LOG[:1]).problem == (
        f"shard 1 sequence 1: filed is billing.OrderExpired.v1 {UUID(int=1)}, /billing/orders has "
        "nothing (there is no event with that number there)"
    )


def test_what_is_archived_at_the_producer_is_counted_and_not_compared() -> None:
    told = "2 filed events are archived by orders"
    assert filed_check(LOG[2:], LOG, behind=2) == filed(1, None, told)
    assert filed_check([], LOG[:1], behind=2, up_to=2) == filed(0, None, told)
    assert filed_check([], LOG, behind=5, up_to=2) == filed(0, None, told)


def test_shards_are_compared_one_after_the_other() -> None:
    check = FiledCheck(ORDERS, "wallet/")
    for shard in (1, 2):
        asyncio.run(check.compare(shard, 1, 3, slices(*LOG), slices(*LOG)))
    assert check.result() == filed(4, None, "2 filed events are archived by orders")


# -- the newest that was taken -----------------------------------------------------------------------


MARK = SliceMark(ORDERS, 1, 2, ID_2)


def marks_check(
    marks: dict[int, SliceMark], *events: StoredEvent, heads: dict[int, LogHead] | None = None
) -> Check:
    check = MarkCheck(ORDERS, "ledger", marks, {} if heads is None else heads)
    check.look(events)
    return check.result()


def newest(problem: str | None, *, marks: int = 1, unread: str = "") -> Check:
    compared = f"{marks} marks of ledger with the log of /billing/orders"
    return Check("newest taken by ledger", compared, problem, MINTED, unread)


def test_event_that_a_mark_names_is_the_one_of_the_log() -> None:
    foreign = event(2, source=LEDGER, event_id=ID_9)
    elsewhere = event(2, 3, event_id=ID_9)
    assert marks_check({1: MARK}, elsewhere, foreign, *LOG) == newest(None)


def test_event_with_the_number_of_a_mark_and_another_id_is_named() -> None:
    problem = (
        f"shard 1 sequence 2: ledger took {ID_9}, "
        f"/billing/orders has billing.OrderExpired.v1 {ID_2}"
    )
    marks = {1: MARK._replace(event_id=ID_9), 2: MARK._replace(shard=2, event_id=ID_9)}
    assert marks_check(marks, *LOG, event(2, 2)) == newest(problem, marks=2)


def test_mark_ahead_of_the_log_is_named() -> None:
    problem = (
        f"shard 1 sequence 4: ledger took {ID_2} and /billing/orders has no event with that number"
    )
    ahead = {shard: MARK._replace(shard=shard, sequence=4) for shard in (2, 1)}
    assert marks_check({1: ahead[1]}, *LOG) == newest(problem)
    assert marks_check(ahead, *LOG, heads={2: LogHead(4)}) == newest(problem, marks=2)


def test_marks_that_name_what_is_archived_are_counted() -> None:
    behind = {shard: LogHead(begin=Begin(sequence=2)) for shard in (1, 2, 3)}
    marks = {shard: MARK._replace(shard=shard, sequence=shard) for shard in (1, 2)}
    assert marks_check(marks, heads=behind) == newest(
        None, marks=2, unread="2 marks name what is archived"
    )
    beyond = {3: MARK._replace(shard=3, sequence=3)}
    assert "has no event with that number" in str(marks_check(beyond, heads=behind).problem)


# -- what events rest on -----------------------------------------------------------------------------


def claims() -> ClaimCheck:
    return ClaimCheck("ledger", lambda stored: stored.causation_id)


def rests(stored: StoredEvent, on: UUID | None) -> StoredEvent:
    return stored._replace(causation_id=on)


def founded(claimed: int, problem: str | None) -> Check:
    compared = f"{claimed} events of ledger with what they rest on"
    return Check("causes of ledger", compared, problem, MINTED)


def test_event_that_rests_on_one_of_the_same_account_is_founded() -> None:
    check = claims()
    check.look([rests(event(1), ID_2), rests(event(2), None)])
    check.found([event(5), event(2)])
    check.end_shard()
    assert check.result() == founded(1, None)


def test_event_that_rests_on_nothing_is_named_at_the_end_of_its_shard() -> None:
    check = claims()
    check.look([rests(event(1), ID_2)])
    check.found([event(2, account_id="acct-2")])
    assert check.result() == founded(1, None)
    check.end_shard()
    check.end_shard()
    problem = f"{where(1)} rests on {ID_2}, which no log holds for that account"
    assert check.result() == founded(1, problem)


def test_all_that_rest_on_nothing_are_counted_behind_the_first() -> None:
    check = claims()
    check.look([rests(event(1), ID_2), rests(event(3), ID_9)])
    check.end_shard()
    check.look([rests(event(4), UUID(int=10))])
    check.end_shard()
    problem = f"{where(1)} rests on {ID_2}, which no log holds for that account; 3 rest on nothing"
    assert check.result() == founded(3, problem)

"""Since when an open transaction holds a partition up: the offset that stands still decides."""

from __future__ import annotations

from services.runtime.kafka.held_back import Held, HeldBack

HERE, THERE = ("requests", 0), ("requests", 1)


class Looks:
    def __init__(self) -> None:
        self.now = 100.0
        self.held = HeldBack(lambda: self.now)

    def at(self, now: float, stable: int, end: int) -> Held:
        self.now = now
        return self.held.note({HERE: stable}, {HERE: end})[HERE]


def test_records_behind_an_offset_that_stands_still_wait_longer_and_longer() -> None:
    looks = Looks()

    assert looks.at(100, stable=7, end=9) == Held(2, 0.0)
    assert looks.at(160, stable=7, end=12) == Held(5, 60.0)
    assert looks.held.said(frozenset({HERE, THERE})) == [
        "requests/0: an open transaction holds back 5 records, for 60 s"
    ]


def test_offset_that_moves_begins_the_time_anew() -> None:
    looks = Looks()
    looks.at(100, stable=7, end=9)

    assert looks.at(160, stable=8, end=9) == Held(1, 0.0)
    assert looks.at(170, stable=8, end=9) == Held(1, 10.0)


def test_where_nothing_waits_no_time_passes() -> None:
    looks = Looks()
    looks.at(100, stable=7, end=9)

    assert looks.at(160, stable=10, end=10) == Held()
    assert looks.held.said(frozenset({HERE})) == []
    assert looks.at(200, stable=10, end=11) == Held(1, 0.0)


def test_end_that_was_asked_for_earlier_than_the_stable_offset_holds_nothing_back() -> None:
    assert Looks().at(100, stable=12, end=9) == Held()


def test_only_what_was_looked_at_is_said() -> None:
    looks = Looks()
    looks.at(100, stable=7, end=9)

    assert looks.held.note({THERE: 1}, {THERE: 1}) == {THERE: Held()}
    assert looks.held.said(frozenset({THERE})) == []

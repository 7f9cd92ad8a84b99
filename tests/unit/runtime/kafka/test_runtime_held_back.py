"""Since when open transactions hold a partition up: what waits longest decides, not what moves."""

from __future__ import annotations

from services.runtime.kafka.held_back import PRECISION, Held, HeldBack

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


def test_offset_that_moves_counts_from_when_the_oldest_that_waits_was_seen() -> None:
    looks = Looks()
    looks.at(100, stable=7, end=9)

    assert looks.at(160, stable=8, end=12) == Held(4, 60.0)
    assert looks.at(170, stable=9, end=12) == Held(3, 10.0)
    assert looks.at(180, stable=12, end=13) == Held(1, 0.0)


def test_transactions_that_take_turns_hide_nothing() -> None:
    """One begins each second and stays open for 59: the offset moves all the time."""
    looks = Looks()
    found = [looks.at(now, stable=max(0, now - 59), end=now + 1) for now in range(1000)]

    assert all(59 * (1 - 1 / PRECISION) < each.seconds <= 59 for each in found[100:])
    assert {each.records for each in found[100:]} == {60}


def test_long_wait_with_many_looks_is_remembered_in_bounded_room() -> None:
    looks = Looks()
    for now in range(10_000):
        found = looks.at(now, stable=0, end=now + 1)

    assert found == Held(10_000, 9_999.0)
    later = looks.at(10_000, stable=5_000, end=10_001)
    assert 5_000 - 10_000 / PRECISION < later.seconds <= 5_000
    [seen] = looks.held._seen.values()  # noqa: SLF001 - the room is what is tested
    assert len(seen) < 200


def test_topic_that_was_made_again_begins_anew() -> None:
    looks = Looks()
    looks.at(100, stable=700, end=900)

    assert looks.at(160, stable=5, end=7) == Held(2, 0.0)


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

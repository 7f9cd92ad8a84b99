"""The generic cell rate algorithm to the microsecond, and with clocks that step."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.notification.rate_limit import Limit

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
LIMIT = Limit(burst=3, interval=HOUR)


def admitted(limit: Limit, moments: list[datetime]) -> list[datetime]:
    """Ask at each moment in order; return those at which a message may go."""
    expected_at, passed = None, []
    for moment in moments:
        turn = limit.take(expected_at, moment)
        expected_at = turn.expected_at
        if turn.admitted:
            passed.append(moment)
    return passed


def test_a_burst_passes_and_the_next_one_waits_for_one_interval() -> None:
    assert admitted(LIMIT, [NOW] * 10) == [NOW] * 3
    turn = LIMIT.take(NOW + 3 * HOUR, NOW)
    assert (turn.admitted, turn.at) == (False, NOW + HOUR)


def test_the_boundary_of_an_interval_belongs_to_the_one_who_waited() -> None:
    full = NOW + 3 * HOUR
    assert not LIMIT.take(full, NOW + HOUR - TICK).admitted
    assert LIMIT.take(full, NOW + HOUR).admitted
    assert admitted(LIMIT, [*[NOW] * 3, NOW + HOUR, NOW + HOUR]) == [*[NOW] * 3, NOW + HOUR]


def test_a_mailbox_that_rested_has_its_whole_burst_and_no_more() -> None:
    later = NOW + 100 * HOUR
    assert admitted(LIMIT, [*[NOW] * 3, *[later] * 5]) == [*[NOW] * 3, *[later] * 3]


def test_one_at_a_time_is_one_at_a_time() -> None:
    assert admitted(Limit(1, HOUR), [NOW, NOW, NOW + HOUR - TICK, NOW + HOUR]) == [NOW, NOW + HOUR]


def test_a_clock_that_went_back_costs_one_interval_at_most() -> None:
    turn = LIMIT.take(NOW + 3 * HOUR, NOW - timedelta(days=9))
    assert (turn.admitted, turn.at) == (False, NOW - timedelta(days=9) + HOUR)
    assert LIMIT.take(turn.expected_at, turn.at).admitted


def test_a_limit_that_was_lowered_holds_at_once_and_frees_after_one_interval() -> None:
    before = Limit(100, HOUR).take(NOW + 90 * HOUR, NOW)
    turn = LIMIT.take(before.expected_at, NOW)
    assert (turn.admitted, turn.at) == (False, NOW + HOUR)


@given(
    burst=st.integers(1, 6),
    seconds=st.integers(1, 100),
    steps=st.lists(st.integers(0, 60), max_size=30),
)
def test_no_stretch_of_time_holds_more_than_its_share(
    burst: int, seconds: int, steps: list[int]
) -> None:
    moments = [NOW + timedelta(seconds=sum(steps[: n + 1])) for n in range(len(steps))]
    limit = Limit(burst, timedelta(seconds=seconds))
    passed = admitted(limit, moments)
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], first):
            assert last - first + 1 <= burst + (end - begin) // limit.interval


@given(st.lists(st.integers(-10_000, 10_000), max_size=40))
def test_whatever_the_clock_does_the_next_turn_is_at_most_one_interval_away(
    steps: list[int],
) -> None:
    expected_at, now = None, NOW
    for step in steps:
        now += timedelta(seconds=step)
        turn = LIMIT.take(expected_at, now)
        assert turn.at - now <= LIMIT.interval
        expected_at = turn.expected_at

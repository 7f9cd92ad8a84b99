"""How long a loop gathers before its next turn."""

from __future__ import annotations

import pytest

from services.runtime.flow.pace import GATHER_SECONDS_MAX, Pace


@pytest.mark.parametrize(
    ("took", "gathers"),
    [(0.0, 0.01), (0.004, 0.01), (0.025, 0.025), (3.0, GATHER_SECONDS_MAX)],
    ids=["nothing", "less than the least", "between", "more than the most"],
)
def test_next_turn_is_waited_for_as_long_as_the_last_one_took_within_limits(
    took: float, gathers: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([100.0, 100.0 + took])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    found = Pace(least_seconds=0.01)
    with found.turn():
        pass
    assert found.gather_seconds == pytest.approx(gathers)


def test_turn_that_fails_counts_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5.0, 5.02])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    found = Pace()
    with pytest.raises(ValueError, match="broken"), found.turn():
        raise ValueError("broken")
    assert found.gather_seconds == pytest.approx(0.02)


def test_nothing_is_gathered_before_the_first_turn() -> None:
    assert Pace().gather_seconds == 0

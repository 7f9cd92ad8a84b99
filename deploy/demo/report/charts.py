"""Where the bars and dots of the page's charts lie, as percentages of the chart's width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.demo.expected.comparison import Comparison
from deploy.demo.report.figures import count_text, side_text, words
from deploy.demo.result import Moment

BARS_MAX: Final = 24
"""More than these say nothing at a glance; the table beside the chart holds them all."""

_LANES: Final = ("orders", "ledger", "notifier")
_EDGE: Final = 200
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar: `start`, `width` and `mark` (what was expected) are percentages such as `12.50%`."""

    label: str
    value: str
    width: str
    start: str = "0.00%"
    mark: str = ""
    agrees: bool = True
    kind: str = "plain"


@dataclass(frozen=True, slots=True)
class Lane:
    """One service in the timeline, and where its events lie."""

    service: str
    dots: list[str]


def percent(part: int, whole: int) -> str:
    """Return `part` of `whole` as a percentage, cut to two decimals; 0 of 0 is `0.00%`."""
    return _percent(_hundredths(part, whole))


def comparison_bars(comparisons: Iterable[Comparison]) -> list[ChartBar]:
    """Return a bar for each name, its details summed; those that differ first, then the largest."""
    sums: dict[str, tuple[int, int, bool]] = {}
    for each in comparisons:
        expected, seen, agrees = sums.get(each.name, (0, 0, True))
        sums[each.name] = (expected + each.expected, seen + each.seen, agrees and each.agrees)
    most = max((max(expected, seen) for expected, seen, _ in sums.values()), default=0)
    ranked = sorted(sums.items(), key=lambda item: (item[1][2], -item[1][1], item[0]))
    return [
        ChartBar(
            label=words(name),
            value=count_text(seen) if agrees else _difference(expected, seen),
            width=percent(seen, most),
            mark=percent(expected, most),
            agrees=agrees,
            kind="plain" if agrees else "differs",
        )
        for name, (expected, seen, agrees) in ranked[:BARS_MAX]
    ]


def balance_bars(balances: Sequence[tuple[str, int]], exponent: int) -> list[ChartBar]:
    """Return a bar for each account: debit to the right of the middle, credit to the left."""
    most = max((abs(minor) for _, minor in balances), default=0)
    bars = []
    for account, minor in balances:
        width = _hundredths(abs(minor), most) // 2
        debit = minor >= 0
        bars.append(
            ChartBar(
                label=account,
                value=side_text(minor, exponent),
                width=_percent(width),
                start=_percent(5_000 if debit else 5_000 - width),
                kind="debit" if debit else "credit",
            )
        )
    return bars


def quantity_bars(quantities: Sequence[tuple[str, int, str]]) -> list[ChartBar]:
    """Return a bar for each (label, quantity, quantity as people read it)."""
    most = max((quantity for _, quantity, _ in quantities), default=0)
    return [ChartBar(label, text, percent(quantity, most)) for label, quantity, text in quantities]


def lanes(timeline: Sequence[Moment]) -> list[Lane]:
    """Return the services in the order money flows, then any other; dots lie in time."""
    others = sorted({moment.service for moment in timeline} - set(_LANES))
    last = max((moment.after_ms for moment in timeline), default=0)
    return [
        Lane(
            service,
            [_inside(each.after_ms, last) for each in timeline if each.service == service],
        )
        for service in (*_LANES, *others)
    ]


def ticks(timeline: Sequence[Moment]) -> list[tuple[str, str]]:
    """Return where the time axis is marked and with how many milliseconds."""
    last = max((moment.after_ms for moment in timeline), default=0)
    marks = sorted({last * turn // _TICKS for turn in range(_TICKS + 1)})
    return [(_inside(mark, last), f"{count_text(mark)} ms") for mark in marks]


def _difference(expected: int, seen: int) -> str:
    if expected == seen:
        return f"{count_text(seen)}, details differ"
    return f"{count_text(seen)}, expected {count_text(expected)}"


def _hundredths(part: int, whole: int) -> int:
    return max(part, 0) * 10_000 // whole if whole > 0 else 0


def _inside(part: int, whole: int) -> str:
    """Keep half a dot's room at both ends of the lane."""
    return _percent(_EDGE + _hundredths(part, whole) * (10_000 - 2 * _EDGE) // 10_000)


def _percent(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}%"

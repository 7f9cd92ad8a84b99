"""What a benchmark found, as numbers: figures with their references, percentiles, trends. PURE."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_DIGITS: Final = 4
_WORST_OF_HUNDRED: Final = 100
_STEADY: Final = (0.2, 0.8)
_SAMPLES_MIN: Final = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `reference` says what `reference_value`, of the same unit, was."""

    name: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    target: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return value / reference value; None without a reference."""
        return self.value / self.reference_value if self.reference_value else None

    def as_json(self) -> dict[str, str | float | None]:
        """Return what goes into the file for programs, rounded to four digits."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "reference": self.reference,
            "reference_value": rounded(self.reference_value),
            "ratio": rounded(self.ratio),
        }


def rounded(value: float | None) -> float | None:
    """Return `value` with four significant digits."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def to_json(figures: Iterable[Figure]) -> str:
    """Return the file for programs: a list, a line for each figure."""
    lines = ",\n  ".join(json.dumps(figure.as_json()) for figure in figures)
    return f"[\n  {lines}\n]\n" if lines else "[]\n"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        message = "no values: nothing was measured"
        raise ValueError(message)
    rank = math.ceil(percent / _WORST_OF_HUNDRED * len(values))
    return sorted(values)[max(0, rank - 1)]


def steady_rate(samples: Sequence[tuple[float, float]]) -> float:
    """Return the slope of (seconds, count) by least squares, between a fifth and four of the count.

    A short run may have no two samples there, since counts move a batch at a time: then the whole
    of it counts.

    Raises:
        ValueError: nothing was counted, or everything in one moment.
    """
    total = samples[-1][1] if samples else 0
    if total <= 0:
        message = "nothing was counted: measure for longer"
        raise ValueError(message)
    if samples[-1][0] <= samples[0][0]:
        message = "everything was counted at once: measure for longer"
        raise ValueError(message)
    middle = [s for s in samples if _STEADY[0] * total <= s[1] <= _STEADY[1] * total]
    slope = _slope(middle) if len(middle) >= _SAMPLES_MIN else 0.0
    return slope if slope > 0 else total / (samples[-1][0] - samples[0][0])


def _slope(points: Sequence[tuple[float, float]]) -> float:
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def growth(values: Sequence[float]) -> float:
    """Return the mean of the last quarter by that of the second: 1.0 is flat.

    The first quarter is left out: caches fill and pages are touched for the first time.

    Raises:
        ValueError: there are fewer than four values.
    """
    quarter = len(values) // 4
    if not quarter:
        message = "too few samples for a trend: measure for longer"
        raise ValueError(message)
    second, last = values[quarter : 2 * quarter], values[-quarter:]
    return (sum(last) / quarter) / (sum(second) / quarter)

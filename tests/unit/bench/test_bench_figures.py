"""Statistics of the bench: what it makes of samples, and what a program reads of a figure."""

from __future__ import annotations

import json

import pytest

from deploy.bench.results.figures import (
    Figure,
    growth,
    percentile,
    rounded,
    steady_rate,
    to_json,
)


def test_ratio_is_the_value_by_that_of_the_reference() -> None:
    assert Figure("append", 30.0, "events/s", "COPY", 40.0).ratio == 0.75


def test_figure_without_reference_has_no_ratio() -> None:
    assert Figure("latency_p99", 100.0, "ms").ratio is None


def test_reference_that_measured_nothing_gives_no_ratio() -> None:
    assert Figure("append", 30.0, "events/s", "COPY", 0.0).ratio is None


def test_json_is_a_list_of_figures_with_six_fields() -> None:
    figures = [
        Figure("append", 30.0, "events/s", "COPY", 40.0, "0.6", "a note"),
        Figure("b", 1, "ms"),
    ]
    assert json.loads(to_json(figures)) == [
        {
            "name": "append",
            "value": 30.0,
            "unit": "events/s",
            "reference": "COPY",
            "reference_value": 40.0,
            "ratio": 0.75,
        },
        {
            "name": "b",
            "value": 1.0,
            "unit": "ms",
            "reference": None,
            "reference_value": None,
            "ratio": None,
        },
    ]


def test_json_of_no_figures_is_an_empty_list() -> None:
    assert json.loads(to_json([])) == []


@pytest.mark.parametrize(
    ("value", "expected"), [(123456.7, 123500.0), (0.00123456, 0.001235), (0.0, 0.0), (None, None)]
)
def test_values_are_rounded_to_four_digits(value: float | None, expected: float | None) -> None:
    assert rounded(value) == expected


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 99, 5.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 201)], 99, 198.0),
        ([1.0, 2.0], 0, 1.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_percentile_is_the_nearest_rank(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 99)


def test_steady_rate_is_that_of_the_middle() -> None:
    warming = [(float(second), 0.0) for second in range(10)]
    steady = [(10.0 + second, 100.0 * second) for second in range(11)]
    assert steady_rate(warming + steady) == pytest.approx(100.0)


def test_steady_rate_of_a_run_too_short_for_a_middle_is_that_of_the_whole() -> None:
    assert steady_rate([(0.0, 0.0), (1.0, 0.0), (4.0, 400.0)]) == 100.0


@pytest.mark.parametrize("samples", [[], [(0.0, 0.0), (5.0, 0.0)]])
def test_rate_of_nothing_is_refused(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="nothing was counted"):
        steady_rate(samples)


@pytest.mark.parametrize("samples", [[(0.0, 9.0)], [(2.0, 4.0), (2.0, 9.0)]])
def test_rate_of_what_was_there_in_one_moment_is_refused(
    samples: list[tuple[float, float]],
) -> None:
    with pytest.raises(ValueError, match="counted at once"):
        steady_rate(samples)


def test_flat_values_grow_by_a_factor_of_one() -> None:
    assert growth([10.0, 99.0, 99.0, 99.0, 99.0, 99.0, 99.0, 99.0]) == 1.0


def test_growth_compares_the_last_quarter_with_the_second() -> None:
    assert growth([1.0, 1.0, 100.0, 100.0, 110.0, 110.0, 120.0, 120.0]) == pytest.approx(1.2)


def test_growth_of_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="too few samples"):
        growth([1.0, 2.0, 3.0])

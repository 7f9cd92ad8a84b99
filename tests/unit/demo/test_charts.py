"""Bars and dots of the demo's page lie where their numbers say."""

from __future__ import annotations

import pytest

from deploy.demo.expected.comparison import Comparison
from deploy.demo.report.charts import BARS_MAX, balance_bars, comparison_bars, lanes, percent, ticks
from deploy.demo.report.figures import amount_text, seconds_text, side_text, words
from deploy.demo.result import Moment


def test_bar_of_a_kind_sums_its_details() -> None:
    bars = comparison_bars(
        [
            Comparison("outcomes", "PaymentCaptured", "card", 594, 594),
            Comparison("outcomes", "PaymentCaptured", "paypal", 473, 473),
            Comparison("outcomes", "PlanActivated", "", 1454, 1454),
        ]
    )

    assert [(bar.label, bar.value, bar.width) for bar in bars] == [
        ("Plan activated", "1,454", "100.00%"),
        ("Payment captured", "1,067", "73.38%"),
    ]


def test_bar_that_differs_comes_first_and_marks_what_was_expected() -> None:
    right = Comparison("outcomes", "PlanActivated", "", 100, 100)
    wrong = Comparison("outcomes", "OrderExpired", "", 20, 10)

    first = comparison_bars([right, wrong])[0]

    assert (first.value, first.width, first.mark) == ("10, expected 20", "10.00%", "20.00%")
    assert not first.agrees


def test_details_that_cancel_out_still_differ() -> None:
    [bar] = comparison_bars(
        [
            Comparison("outcomes", "PaymentCaptured", "card", 594, 595),
            Comparison("outcomes", "PaymentCaptured", "paypal", 473, 472),
        ]
    )

    assert bar.value == "1,067, details differ"
    assert not bar.agrees


def test_chart_of_many_kinds_keeps_the_largest() -> None:
    bars = comparison_bars(Comparison("emails", f"kind {n}", "", n, n) for n in range(200))

    assert len(bars) == BARS_MAX
    assert bars[0].label == "kind 199"


def test_debit_lies_right_of_the_middle_and_credit_left() -> None:
    debit, credit = balance_bars([("Assets:Bank", 500), ("Liabilities:Wallet:Paid", -2_000)], 2)

    assert (debit.start, debit.width, debit.value) == ("50.00%", "12.50%", "5.00 Dr")
    assert (credit.start, credit.width, credit.value) == ("0.00%", "50.00%", "20.00 Cr")


def test_dots_lie_in_time_in_the_lane_of_their_service() -> None:
    timeline = [
        Moment("orders", "RenewalAccepted", "", 0),
        Moment("ledger", "EntryPosted", "", 300),
        Moment("archive", "Kept", "", 1_200),
    ]

    assert [(lane.service, lane.dots) for lane in lanes(timeline)] == [
        ("orders", ["2.00%"]),
        ("ledger", ["26.00%"]),
        ("notifier", []),
        ("archive", ["98.00%"]),
    ]
    assert ticks(timeline)[-1] == ("98.00%", "1,200 ms")


def test_renewal_within_a_millisecond_has_one_tick() -> None:
    assert ticks([Moment("orders", "RenewalAccepted", "", 0)]) == [("2.00%", "0 ms")]


def test_share_of_nothing_is_nothing() -> None:
    assert percent(0, 0) == "0.00%"


@pytest.mark.parametrize(
    ("minor", "exponent", "text"),
    [
        (123_456, 2, "1,234.56"),
        (-5, 2, "-0.05"),
        (-5, 0, "-5"),
        (1_005, 3, "1.005"),
        (0, 2, "0.00"),
    ],
)
def test_amount_has_the_decimals_of_its_currency(minor: int, exponent: int, text: str) -> None:
    assert amount_text(minor, exponent) == text


def test_balance_names_its_side() -> None:
    assert (side_text(-1_250, 2), side_text(3, 0)) == ("12.50 Cr", "3 Dr")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PaymentCaptured", "Payment captured"),
        ("esim_not_found", "esim not found"),
        ("perennial-orders", "perennial-orders"),
        ("USD", "USD"),
        ("", ""),
    ],
)
def test_names_of_the_contract_become_words(name: str, text: str) -> None:
    assert words(name) == text


def test_duration_of_a_minute_is_in_minutes() -> None:
    assert (seconds_text(59.4), seconds_text(65.0)) == ("59.4 s", "1 min 5 s")

"""What a line of `perennial orders show` says of an event."""

from __future__ import annotations

from datetime import UTC, datetime

from services.cli.requests.orders import TimelineEntry


def told(**body: object) -> str:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return TimelineEntry(
        "orders", at, "billing.RenewalRejected.v1", "0/1", "acct-1", "rnw-1", body
    ).told()


def test_codes_that_lowered_nothing_are_named() -> None:
    line = told(reason="promotion_not_applicable", promotions_not_applied=["NOPE", "OLD-1"])
    assert line == "reason promotion_not_applicable, promotions_not_applied NOPE, OLD-1"
    assert told(reason="unknown_plan") == "reason unknown_plan"


def test_amounts_are_in_the_major_unit() -> None:
    assert told(amount={"amount_minor": 1590, "currency": "USD"}) == "amount 15.90 USD"

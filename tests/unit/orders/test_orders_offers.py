"""What is told of the catalogue to those around us: a row for each plan that is sold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from schemas.catalogue import PlanOffered
from services.orders.catalogue_topic import changes_between, headers_of, rows_of
from tests.unit.orders.builders import CATALOGUE, NOW


def test_row_holds_what_is_sold_at_that_moment() -> None:
    before = PlanOffered.parse(rows_of(CATALOGUE, NOW.replace(month=6))["eu-month-basic"])
    after = PlanOffered.parse(rows_of(CATALOGUE, NOW)["eu-month-basic"])
    assert (before.plan_version, after.plan_version) == ("2025-1", "2026-2")
    assert before.prices != after.prices


def test_row_changes_with_a_promotion_and_not_with_the_time_alone() -> None:
    spring = datetime(2026, 2, 10, 16, tzinfo=UTC)
    before, during = rows_of(CATALOGUE, spring - timedelta(seconds=1)), rows_of(CATALOGUE, spring)
    changed = changes_between(before, during)
    assert "eu-month-basic" in changed
    assert "eu-day-basic" not in changed
    assert changes_between(during, rows_of(CATALOGUE, spring + timedelta(days=1))) == {}


def test_plan_that_is_gone_is_a_record_without_a_value() -> None:
    changes = changes_between({"old": b"{}", "same": b"1"}, {"same": b"1", "new": b"2"})
    assert changes == {"new": b"2", "old": None}


def test_plan_without_a_tax_is_not_told() -> None:
    untaxed = CATALOGUE.model_copy(update={"taxes": []})
    assert rows_of(untaxed, NOW) == {}


def test_same_content_told_again_later_has_another_id() -> None:
    first, again, later = (
        dict(headers_of("p", b"{}", moment))["ce_id"]
        for moment in (NOW, NOW, NOW + timedelta(days=1))
    )
    assert first == again
    assert first != later

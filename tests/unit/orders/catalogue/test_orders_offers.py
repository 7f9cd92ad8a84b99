"""What is told of the catalogue to those around us: a row for each plan that is sold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from schemas.catalogue import PlanOffered
from services.orders.catalogue.catalogue_topic import FOREIGN_MAX, Table, headers_of, rows_of
from services.runtime.kafka.records.record_size import (
    KEY_BYTES_MAX,
    HeadRecord,
    LargeValue,
    UnreadBatch,
)
from tests.unit.orders.builders import CATALOGUE, NOW


def test_row_holds_what_is_sold_at_that_moment() -> None:
    before = PlanOffered.parse(rows_of(CATALOGUE, NOW.replace(month=6))["eu-month-basic"])
    after = PlanOffered.parse(rows_of(CATALOGUE, NOW)["eu-month-basic"])
    assert (before.plan_version, after.plan_version) == ("2025-1", "2026-2")
    assert before.prices != after.prices


def record(code: str, body: bytes | None, *, moment: datetime = NOW) -> HeadRecord:
    headers = [] if body is None else headers_of(code, body, moment)
    return HeadRecord(0, 0, body, key=code.encode(), headers=headers)  # type: ignore[arg-type]


def changes_of(wanted: dict[str, bytes], *records: HeadRecord) -> dict[bytes, bytes | None]:
    table = Table(wanted, NOW)
    for each in records:
        table.take(each)
    return dict(table.changes())


def test_row_changes_with_a_promotion_and_not_with_the_time_alone() -> None:
    spring = datetime(2026, 2, 10, 16, tzinfo=UTC)
    before, during = rows_of(CATALOGUE, spring - timedelta(seconds=1)), rows_of(CATALOGUE, spring)
    changed = changes_of(during, *(record(*row) for row in before.items()))
    assert b"eu-month-basic" in changed
    assert b"eu-day-basic" not in changed
    later = rows_of(CATALOGUE, spring + timedelta(days=1))
    assert changes_of(later, *(record(*row) for row in during.items())) == {}


def test_plan_that_is_gone_is_a_record_without_a_value() -> None:
    changes = changes_of({"same": b"1", "new": b"2"}, record("old", b"{}"), record("same", b"1"))
    assert changes == {b"new": b"2", b"old": None}


@pytest.mark.parametrize(
    "forged",
    [
        record("p", b"2"),
        record("p", None),
        record("p", b"1", moment=NOW + timedelta(days=400)),
        HeadRecord(0, 0, LargeValue(b"1"), key=b"p", headers=headers_of("p", b"1", NOW)),
        HeadRecord(0, 0, b"1", key=b"p"),  # type: ignore[arg-type]
        HeadRecord(0, 0, b"1", key=b"p", headers=headers_of("q", b"1", NOW)),  # type: ignore[arg-type]
        HeadRecord(0, 0, b"1", key=b"p", headers=[*headers_of("p", b"1", NOW), ("x", None)]),  # type: ignore[arg-type]
        HeadRecord(0, 0, b"1", key=b"p", headers=[("ce_time", b"\xff")]),  # type: ignore[arg-type]
        HeadRecord(0, 0, UnreadBatch(b"1")),
    ],
)
def test_newest_record_must_be_as_orders_writes_it(forged: HeadRecord) -> None:
    assert changes_of({"p": b"1"}, record("p", b"1")) == {}
    assert changes_of({"p": b"1"}, record("p", b"1"), forged) == {b"p": b"1"}
    assert changes_of({"p": b"1"}, forged, record("p", b"1")) == {}


def test_of_what_others_wrote_a_bounded_part_is_remembered_and_none_of_the_values() -> None:
    table = Table({"p": b"1"}, NOW)
    for number in range(FOREIGN_MAX + 10):
        table.take(record(f"junk-{number}", b"x" * 10_000))
    changes = table.changes()
    assert changes == {b"p": b"1"} | {f"junk-{n}".encode(): None for n in range(FOREIGN_MAX)}


def test_key_that_is_too_long_to_be_kept_is_left_alone() -> None:
    """What stands for it is not its key; no reader takes it for a plan."""
    assert changes_of({}, HeadRecord(0, 0, LargeValue(b"1"), key=b"k" * KEY_BYTES_MAX)) == {}


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

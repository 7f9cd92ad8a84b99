"""What the check of the books says of sound events, and of bodies and amounts that were changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from schemas import BILLING
from schemas.envelope import Event
from schemas.orders import PlanActivated
from services.ledger.books.projection import amount_rows
from services.ledger.rules.amounts import amounts_of
from services.ledger.rules.rule_file import load_rules
from services.ledger.verification.body_check import RESTORE, BodyCheck, Chunk
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import Check
from tests.controls import T0
from tests.unit.ledger.builders import bonus, captured, topped_up

RULES = load_rules()
SHARD = 2
EXAMPLES = Path(__file__).parents[4] / "schemas" / "examples"
Rows = dict[int, list[tuple[object, ...]]]


def stored(event: Event, position: int = 1) -> StoredEvent:
    """Return an event of orders as the ledger files it."""
    return StoredEvent(
        shard=SHARD,
        position=position,
        stream_id="order/t-1",
        stream_version=position,
        event_id=UUID(int=position),
        source="/billing/orders",
        type=event.wire_type(),
        sequence=position,
        account_id=event.account_id,
        correlation_id="t-1",
        causation_id=None,
        traceparent=None,
        occurred_at=T0,
        recorded_at=T0,
        body=event.body(),
    )


def rows_of(*events: StoredEvent) -> Rows:
    """Return the rows that belong to events."""
    return {each.position: amount_rows(each, amounts_of(each.event(BILLING))) for each in events}


def taken(events: list[StoredEvent], rows: Rows) -> BodyCheck:
    check = BodyCheck(RULES)
    check.take(Chunk(events, rows))
    return check


PAID, LOT = stored(captured(100, 7, fee=20)), stored(topped_up(107), 2)
WHERE = f"shard 2 position 1 ({PAID.type} {PAID.event_id})"


def bodies(problem: str | None, events: int = 1) -> Check:
    compared = f"{events} bodies, posted by the rules of {RULES.name}"
    return Check("bodies and rules", compared, problem, RESTORE)


def table(rows: int, problem: str | None) -> Check:
    return Check(
        "amount table", f"{rows} rows of the amount table with the bodies", problem, RESTORE
    )


def test_sound_events_are_posted_and_agree_with_their_rows() -> None:
    check = taken([PAID, LOT], rows_of(PAID, LOT))
    assert check.result() == bodies(None, 2)
    assert check.amounts() == table(4, None)


def test_every_posting_is_added_to_the_balance_of_its_account() -> None:
    check = taken([stored(bonus(100))], {})
    check.take(Chunk([stored(bonus(30), 2)], {}))
    assert dict(check.balances) == {
        (SHARD, "Liabilities:Wallet:BonusOffset", "USD"): 130,
        (SHARD, "Liabilities:Wallet:Bonus:acct-1", "USD"): -130,
    }


def test_event_without_amounts_has_no_rows() -> None:
    example = json.loads((EXAMPLES / "PlanActivated" / "v1.json").read_text(encoding="utf-8"))
    plan = PlanActivated.parse(json.dumps(example["data"]).encode())
    check = taken([stored(plan)], {})
    assert (check.result(), check.amounts()) == (bodies(None), table(0, None))


@pytest.mark.parametrize(
    ("column", "name", "value", "told"),
    [
        (3, "kind", "PaymentCaptured.renewal.card.tax", "PaymentCaptured.renewal.card.net"),
        (4, "account_id", "acct-2", "acct-1"),
        (6, "gateway", "stripe", "sandbox-card"),
        (7, "currency", "EUR", "USD"),
        (8, "amount_minor", 99, "100"),
    ],
)
def test_first_column_that_differs_is_named(
    column: int, name: str, value: object, told: str
) -> None:
    rows = rows_of(PAID)
    row = list(rows[1][0])
    row[column] = value
    rows[1][0] = tuple(row)
    problem = f"{WHERE}: {name} of amount 0 is {value}, the body says {told}"
    assert taken([PAID], rows).amounts() == table(3, problem)


def test_later_amount_that_differs_is_named_by_its_number() -> None:
    rows = rows_of(PAID)
    rows[1][2] = (*rows[1][2][:8], 19, *rows[1][2][9:])
    problem = f"{WHERE}: amount_minor of amount 2 is 19, the body says 20"
    assert taken([PAID], rows).amounts() == table(3, problem)


def test_row_of_a_version_without_gateways_is_sound_until_an_account_needs_it() -> None:
    begins = datetime(2026, 12, 1, tzinfo=UTC)
    for moment, problem in (
        (begins - timedelta(microseconds=1), None),
        (begins, f"{WHERE}: gateway of amount 1 is None, the body says sandbox-card"),
    ):
        paid = PAID._replace(occurred_at=moment)
        rows = rows_of(paid)
        rows[1][1] = (*rows[1][1][:6], None, *rows[1][1][7:])
        assert taken([paid], rows).amounts() == table(3, problem)


def test_row_with_a_gateway_that_the_fact_does_not_name_is_told() -> None:
    lot = stored(topped_up(107, gateway=None))
    rows = rows_of(lot)
    assert taken([lot], rows).amounts() == table(1, None)
    rows[1][0] = (*rows[1][0][:6], "stripe", *rows[1][0][7:])
    found = taken([lot], rows).amounts().problem
    assert found is not None
    assert found.endswith("gateway of amount 0 is stripe, the body says None")


def test_amounts_that_are_missing_or_more_are_counted() -> None:
    few = {1: rows_of(PAID)[1][:1]}
    assert taken([PAID], few).amounts().problem == f"{WHERE}: 1 amounts where the body states 3"
    assert taken([PAID], {}).amounts().problem == f"{WHERE}: 0 amounts where the body states 3"


def test_only_the_first_difference_is_told() -> None:
    check = taken([PAID, LOT], {})
    assert check.amounts() == table(4, f"{WHERE}: 0 amounts where the body states 3")


def test_amounts_without_an_event_are_named_by_their_place() -> None:
    rows = rows_of(PAID) | {7: [], 5: []}
    check = taken([PAID], rows)
    assert check.amounts() == table(3, "shard 2 position 5 has amounts and no event")
    check.see_stray(None)
    check.see_stray((3, 1))
    assert check.amounts() == table(3, "shard 2 position 5 has amounts and no event")


def test_difference_is_told_before_amounts_without_an_event() -> None:
    check = taken([PAID], {9: []})
    assert check.amounts().problem == f"{WHERE}: 0 amounts where the body states 3"


def test_first_body_that_cannot_be_read_is_named_and_the_others_are_still_posted() -> None:
    broken = PAID._replace(body=b"{}")
    check = taken([broken, LOT._replace(body=b"[]"), stored(bonus(5), 3)], {})
    told = str(check.result().problem)
    assert told.startswith(f"{WHERE}: account_id: is missing; ")
    assert check.result() == bodies(told, 3)
    assert check.amounts().compared == "1 rows of the amount table with the bodies"


def test_event_that_no_rule_books_and_a_type_that_is_unknown_are_named() -> None:
    old = PAID._replace(occurred_at=T0.replace(year=2019))
    told = taken([old], rows_of(PAID)).result().problem
    assert told == (
        f"{WHERE}: no posting rule for PaymentCaptured.renewal.card.net at 2019-11-20T08:00:00+00:00: "
        "nothing was booked. Add a row to posting_rules.toml (or a no_posting row with the reason), "
        "start again, then `perennial shards resume`"
    )
    strange = taken([PAID._replace(type="billing.Strange.v1")], {})
    assert "billing.Strange.v1" in str(strange.result().problem)

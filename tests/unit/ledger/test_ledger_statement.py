"""A statement as JSON: every field of a line, balances in order, and what it covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from services.ledger.reports.scope import Scope
from services.ledger.reports.statement import Statement, StatementLine, Subject, subject_of
from services.ledger.rules.rule_file import load_rules
from tests.controls import T0

LINE = StatementLine(
    recorded_at=T0,
    occurred_at=T0 - timedelta(minutes=1),
    shard=3,
    position=7,
    event_id=UUID(int=9),
    event_type="billing.PaymentCaptured.v1",
    correlation_id="rnw-1",
    account="Assets:Gateway:Card",
    currency="USD",
    amount_minor=5,
    balance_minor=12,
    rule_id="capture",
    rule_version=2,
)
STATEMENT = Statement(
    of="acct-1",
    scope=Scope({4: 1, 3: 7}),
    since=None,
    opening={("b", "USD"): 2, ("b", "JPY"): 3, ("a", "USD"): 1},
    lines=[LINE],
    closing={("b", "USD"): 7},
)


def test_statement_as_json_holds_all_of_it_in_order() -> None:
    assert STATEMENT.content() == {
        "of": "acct-1",
        "since": None,
        "known_at": None,
        "effective_at": None,
        "positions": {"3": 7, "4": 1},
        "opening": [
            {"account": "a", "currency": "USD", "amount_minor": 1},
            {"account": "b", "currency": "JPY", "amount_minor": 3},
            {"account": "b", "currency": "USD", "amount_minor": 2},
        ],
        "lines": [
            {
                "recorded_at": "2026-11-20T08:00:00.000000Z",
                "occurred_at": "2026-11-20T07:59:00.000000Z",
                "shard": 3,
                "position": 7,
                "event_id": "00000000-0000-0000-0000-000000000009",
                "event_type": "billing.PaymentCaptured.v1",
                "correlation_id": "rnw-1",
                "account": "Assets:Gateway:Card",
                "currency": "USD",
                "amount_minor": 5,
                "balance_minor": 12,
                "rule_id": "capture",
                "rule_version": 2,
            }
        ],
        "closing": [{"account": "b", "currency": "USD", "amount_minor": 7}],
    }
    assert list(STATEMENT.content()["positions"]) == ["3", "4"]


def test_moments_of_a_statement_are_text_in_json() -> None:
    scope = Scope({3: 7}, known_at=T0, effective_at=T0 + timedelta(seconds=2))
    content = replace(STATEMENT, scope=scope, since=T0 + timedelta(seconds=1)).content()
    assert content["known_at"] == "2026-11-20T08:00:00.000000Z"
    assert content["since"] == "2026-11-20T08:00:01.000000Z"
    assert content["effective_at"] == "2026-11-20T08:00:02.000000Z"


@pytest.mark.parametrize(
    ("name", "owner", "names"),
    [
        ("Liabilities:Wallet:Paid:acct-1", "acct-1", {"WalletToppedUp", "WalletCharged"}),
        ("Liabilities:Wallet:Bonus:acct-1", "acct-1", {"BonusGranted", "WalletCharged"}),
        ("Liabilities:Wallet:BonusOffset", None, {"BonusGranted", "WalletCharged"}),
        ("Expenses:GatewayFees", None, {"PaymentCaptured"}),
        ("Liabilities:Tax:US", None, {"PaymentCaptured", "WalletCharged"}),
    ],
)
def test_account_of_the_chart_is_itself_and_a_wallet_is_read_of_its_owner_alone(
    name: str, owner: str | None, names: set[str]
) -> None:
    subject = subject_of(name, load_rules())
    assert (subject.account, subject.account_id) == (name, owner)
    assert names <= subject.event_names


def test_any_other_name_is_a_customers_and_of_all_that_is_posted() -> None:
    subject = subject_of("acct-1", load_rules())
    assert subject == Subject(None, "acct-1", subject.event_names)
    assert {"PaymentCaptured", "WalletCharged", "WalletToppedUp"} <= subject.event_names
    assert "RenewalAccepted" not in subject.event_names

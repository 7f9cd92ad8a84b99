"""What each gateway has to pay out: per method and currency, added up, and equal to the balances."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given

from services.ledger.books.columns import ColumnFold
from services.ledger.reports.gateway_report import GatewayLine, gateway_report
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import GATEWAYS
from services.ledger.rules.postings import Transfers
from services.ledger.rules.rule_file import load_rules
from tests.books import OPERATIONS, Books, Operation
from tests.unit.ledger.test_ledger_folds import MOMENTS, batch, rows_of

RULES = load_rules()
SCOPE = Scope({1: 4, 0: 7})
CARD, ALIPAY = "Assets:Gateway:Card", "Assets:Gateway:Alipay"
PLANS, PAYABLE, FEES = (
    "Liabilities:ContractLiability:Plans",
    "Liabilities:Refunds:Payable",
    "Expenses:GatewayFees",
)
MOVED: Transfers = {
    (0, f"{CARD}:stripe", PLANS, "USD"): 3_000,
    (1, f"{CARD}:stripe", PLANS, "USD"): 40,
    (0, f"{CARD}:stripe", "Liabilities:Wallet:Paid:acct-1", "USD"): 500,
    (0, FEES, f"{CARD}:stripe", "USD"): 92,
    (1, FEES, f"{CARD}:stripe", "USD"): 1,
    (0, PAYABLE, f"{CARD}:stripe", "USD"): 700,
    (0, PAYABLE, f"{CARD}:stripe", "JPY"): 5,
    (0, f"{ALIPAY}:stripe", PLANS, "USD"): 10,
    (0, f"{CARD}:stripe%3Aeu", PLANS, "USD"): 8,
    (0, CARD, PLANS, "USD"): 9,
    (0, PLANS, PAYABLE, "USD"): 123,
}


def line(
    gateway: str | None, account: str, amounts: tuple[int, int, int], currency: str = "USD"
) -> GatewayLine:
    return GatewayLine(gateway, account.split(":")[2], account, currency, *amounts)


def test_lines_are_by_gateway_method_and_currency_over_all_shards() -> None:
    found = gateway_report(MOVED, SCOPE, RULES)
    assert found.lines == (
        line(None, CARD, (9, 0, 0)),
        line("stripe", f"{ALIPAY}:stripe", (10, 0, 0)),
        line("stripe", f"{CARD}:stripe", (0, 0, 5), "JPY"),
        line("stripe", f"{CARD}:stripe", (3_540, 93, 700)),
        line("stripe:eu", f"{CARD}:stripe%3Aeu", (8, 0, 0)),
    )
    assert [each.to_pay_out_minor for each in found.lines] == [9, 10, -5, 2_747, 8]


def test_methods_of_a_gateway_are_added_up_per_currency() -> None:
    assert gateway_report(MOVED, SCOPE, RULES).totals == {
        (None, "USD"): 9,
        ("stripe", "JPY"): -5,
        ("stripe", "USD"): 2_757,
        ("stripe:eu", "USD"): 8,
    }


def test_report_is_canonical_whatever_the_order_of_what_moved() -> None:
    moment = datetime(2026, 12, 2, tzinfo=UTC)
    scope = Scope({0: 7, 1: 4}, moment, moment + timedelta(hours=1))
    found = gateway_report(MOVED, scope, RULES)
    assert gateway_report(dict(reversed(MOVED.items())), scope, RULES).body == found.body
    assert found.sha256 == hashlib.sha256(found.body).hexdigest()
    content = json.loads(found.body)
    assert list(content) == sorted(content)
    assert (content["known_at"], content["effective_at"], content["positions"]) == (
        "2026-12-02T00:00:00.000000Z",
        "2026-12-02T01:00:00.000000Z",
        {"0": 7, "1": 4},
    )
    assert (content["rule_set"], content["rule_set_sha256"]) == (RULES.name, RULES.sha256)
    assert content["gateways"][0] == {"currency": "USD", "gateway": None, "to_pay_out_minor": 9}
    assert content["lines"][3] == {
        "account": f"{CARD}:stripe",
        "captured_minor": 3_540,
        "currency": "USD",
        "fees_minor": 93,
        "gateway": "stripe",
        "method": "Card",
        "returned_minor": 700,
        "to_pay_out_minor": 2_747,
    }


def test_books_without_gateways_have_no_lines() -> None:
    found = gateway_report({(0, PLANS, PAYABLE, "USD"): 1}, SCOPE, RULES)
    assert (found.lines, found.totals) == ((), {})


@given(OPERATIONS, MOMENTS)
def test_what_gateways_have_to_pay_out_is_the_balance_of_their_accounts(
    operations: list[Operation], at: datetime
) -> None:
    fold = ColumnFold(RULES)
    partial = fold.step(batch(rows_of(Books().play(operations), at)))
    found = gateway_report(fold.transfers(partial), SCOPE, RULES)
    balances: dict[tuple[str, str], int] = defaultdict(int)
    for (_, account, currency), minor in fold.balances(partial).items():
        if account.startswith(GATEWAYS):
            balances[account, currency] += minor
    assert {
        (each.account, each.currency): each.to_pay_out_minor for each in found.lines
    } == balances
    assert sum(found.totals.values()) == sum(balances.values())

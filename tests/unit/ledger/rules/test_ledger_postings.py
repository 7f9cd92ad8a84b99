"""The worked example of every row of posting_rules.toml, executed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas import EVENTS
from schemas.envelope import Event
from schemas.ledger import WalletCharged
from schemas.topics import LEDGER, ORDERS
from services.ledger.rules.amounts import MONEY_FACTS
from services.ledger.rules.postings import post
from services.ledger.rules.rule_file import load_rules
from services.runtime.errors import Park
from tests.controls import T0
from tests.unit.ledger.builders import (
    CARD,
    IN_WALLET,
    activation_failed,
    bonus,
    captured,
    charge,
    charged,
    consideration,
    money,
    refunded,
    surplus,
    surplus_credited,
    surplus_returned,
    take,
    topped_up,
)
from tests.unit.ledger.builders import WALLET as WALLET_DECIDER

RULES = load_rules()
EXAMPLES = Path(__file__).parents[4] / "schemas" / "examples"
BY_GATEWAY = datetime(2026, 12, 1, tzinfo=UTC)
GATEWAY, PLANS = "Assets:Gateway:Card", "Liabilities:ContractLiability:Plans"
STRIPE = "Assets:Gateway:Card:stripe"
TAX, PAYABLE = "Liabilities:Tax:US", "Liabilities:Refunds:Payable"
PAID, GRANTED = "Liabilities:Wallet:Paid:acct-1", "Liabilities:Wallet:Bonus:acct-1"
OFFSET, FEES = "Liabilities:Wallet:BonusOffset", "Expenses:GatewayFees"


def charged_from_wallet() -> Event:
    """Return the charge of a renewal of 11.33 + 0.67 tax by 5.00 of bonus and 7.00 of paid credit."""
    outcome = WALLET_DECIDER.when(charge(1_133, 67), given=[bonus(500, 0), topped_up(3_000)])
    return charged(getattr(outcome, "events", ()))


CASES: dict[tuple[str, int], tuple[Event, list[tuple[str, int]]]] = {
    ("capture-net", 1): (captured(3_000), [(GATEWAY, 3_000), (PLANS, -3_000)]),
    ("capture-tax", 1): (captured(0, 180), [(GATEWAY, 180), (TAX, -180)]),
    ("capture-fee", 1): (
        captured(5_000, fee=122, topup=True),
        [(FEES, 122), (GATEWAY, -122)],
    ),
    ("top-up", 1): (topped_up(5_000), [(GATEWAY, 5_000), (PAID, -5_000)]),
    ("bonus", 1): (bonus(500), [(OFFSET, 500), (GRANTED, -500)]),
    ("charge-net", 1): (
        charged_from_wallet().model_copy(
            update={"amount": money(700), "consideration": consideration(700)}
        ),
        [(PAID, 700), (PLANS, -700)],
    ),
    ("charge-tax", 1): (
        charged_from_wallet().model_copy(
            update={"amount": money(39), "consideration": consideration(0, 39)}
        ),
        [(PAID, 39), (TAX, -39)],
    ),
    ("charge-bonus", 1): (
        charged_from_wallet().model_copy(
            update={"amount": money(500), "consideration": consideration(0, 0, 500)}
        ),
        [(GRANTED, 500), (OFFSET, -500)],
    ),
    ("refund-owed-net", 1): (
        activation_failed(consideration(3_000)),
        [(PLANS, 3_000), (PAYABLE, -3_000)],
    ),
    ("refund-owed-tax", 1): (
        activation_failed(consideration(0, 180)),
        [(TAX, 180), (PAYABLE, -180)],
    ),
    ("refund-paid", 1): (
        refunded(consideration(3_000, 180)),
        [(PAYABLE, 3_000), (GATEWAY, -3_000), (PAYABLE, 180), (GATEWAY, -180)],
    ),
    ("refund-to-wallet", 1): (
        refunded(consideration(661, 39), method=IN_WALLET),
        [(PAYABLE, 661), (PAID, -661), (PAYABLE, 39), (PAID, -39)],
    ),
    ("refund-to-wallet-bonus", 1): (
        refunded(consideration(0, 0, 500), method=IN_WALLET),
        [(OFFSET, 500), (GRANTED, -500)],
    ),
    ("surplus-captured", 1): (surplus(3_180), [(GATEWAY, 3_180), (PAYABLE, -3_180)]),
    ("surplus-fee", 1): (
        surplus(0, fee=122),
        [(FEES, 122), (GATEWAY, -122)],
    ),
    ("surplus-returned", 1): (
        surplus_returned(surplus(3_180)),
        [(PAYABLE, 3_180), (GATEWAY, -3_180)],
    ),
    ("surplus-credited", 1): (
        surplus_credited(surplus(5_000, topup=True)),
        [(GATEWAY, 5_000), (PAID, -5_000)],
    ),
    ("capture-net", 2): (
        captured(3_000, gateway="stripe"),
        [(STRIPE, 3_000), (PLANS, -3_000)],
    ),
    ("capture-tax", 2): (captured(0, 180, gateway="stripe"), [(STRIPE, 180), (TAX, -180)]),
    ("capture-fee", 2): (
        captured(5_000, fee=122, topup=True, gateway="stripe"),
        [(FEES, 122), (STRIPE, -122)],
    ),
    ("top-up", 2): (topped_up(5_000, gateway="stripe"), [(STRIPE, 5_000), (PAID, -5_000)]),
    ("refund-paid", 2): (
        refunded(consideration(3_000, 180), gateway="stripe"),
        [(PAYABLE, 3_000), (STRIPE, -3_000), (PAYABLE, 180), (STRIPE, -180)],
    ),
    ("surplus-captured", 2): (
        surplus(3_180, gateway="stripe"),
        [(STRIPE, 3_180), (PAYABLE, -3_180)],
    ),
    ("surplus-fee", 2): (surplus(0, fee=122, gateway="stripe"), [(FEES, 122), (STRIPE, -122)]),
    ("surplus-returned", 2): (
        surplus_returned(surplus(3_180, gateway="stripe")),
        [(PAYABLE, 3_180), (STRIPE, -3_180)],
    ),
    ("surplus-credited", 2): (
        surplus_credited(surplus(5_000, topup=True, gateway="stripe")),
        [(STRIPE, 5_000), (PAID, -5_000)],
    ),
}
SILENT: dict[tuple[str, int], Event] = {
    ("capture-for-top-up", 1): captured(5_000, topup=True),
    ("capture-from-wallet", 1): captured(661, 39, bonus_minor=500, method=IN_WALLET),
    ("refund-owed-bonus", 1): activation_failed(consideration(0, 0, 500), method=IN_WALLET),
    ("surplus-for-top-up", 1): surplus(5_000, topup=True),
}


MOMENTS = {1: T0, 2: BY_GATEWAY}
"""When the rows of a version hold."""


@pytest.mark.parametrize("row", CASES)
def test_row_moves_its_amount(row: tuple[str, int]) -> None:
    event, expected = CASES[row]
    entry = post(event, MOMENTS[row[1]], RULES)
    found = [(posting.account, posting.amount_minor) for posting in entry.postings]
    assert found == expected
    assert row in {(posting.rule_id, posting.rule_version) for posting in entry.postings}


@pytest.mark.parametrize("row", SILENT)
def test_row_without_posting_says_why(row: tuple[str, int]) -> None:
    entry = post(SILENT[row], MOMENTS[row[1]], RULES)
    assert entry.postings == ()
    (reason,) = entry.reasons
    assert reason[:2] == row
    assert reason[2]


@pytest.mark.parametrize("row", [row for row in CASES if row[1] == 2])
def test_gateway_is_named_from_the_moment_at_which_the_second_version_begins(
    row: tuple[str, int],
) -> None:
    event, expected = CASES[row]
    for moment, gateway in (
        (BY_GATEWAY - timedelta(microseconds=1), GATEWAY),
        (BY_GATEWAY, STRIPE),
    ):
        found = [(each.account, each.amount_minor) for each in post(event, moment, RULES).postings]
        assert found == [
            (gateway if account == STRIPE else account, minor) for account, minor in expected
        ]


def test_fact_that_names_no_gateway_is_booked_one_level_above_those_that_do() -> None:
    (debit, _) = post(topped_up(5_000, gateway=None), BY_GATEWAY, RULES).postings
    assert (debit.account, debit.rule_version) == (GATEWAY, 2)


@pytest.mark.parametrize("event_name", sorted(RULES.by_event))
def test_fact_that_moves_no_money_posts_nothing_and_says_why(event_name: str) -> None:
    (model,) = (model for model, _ in EVENTS if model.__name__ == event_name)
    content = json.loads((EXAMPLES / event_name / "v1.json").read_text(encoding="utf-8"))
    entry = post(model.parse(json.dumps(content["data"]).encode()), T0, RULES)
    assert entry.postings == ()
    assert entry.reasons[0][2]


def test_every_row_has_an_example() -> None:
    rows = {(rule.rule_id, rule.rule_version) for _, rule in RULES.rows()}
    assert rows == CASES.keys() | SILENT.keys()


def test_published_examples_of_events_that_move_money_are_balanced_entries() -> None:
    for model, topic in EVENTS:
        if topic in {ORDERS, LEDGER} and model in MONEY_FACTS:
            path = EXAMPLES / model.__name__ / "v1.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            entry = post(model.parse(json.dumps(content["data"]).encode()), T0, RULES)
            assert entry.postings or entry.reasons
            assert sum(posting.amount_minor for posting in entry.postings) == 0


def test_renewal_from_the_wallet_splits_into_bonus_tax_and_plan() -> None:
    entry = post(charged_from_wallet(), T0, RULES)
    sums: dict[str, int] = {}
    for posting in entry.postings:
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    assert sums == {GRANTED: 500, OFFSET: -500, PAID: 700, PLANS: -661, TAX: -39}


def test_full_refund_by_card_brings_every_account_back_to_zero() -> None:
    paid = captured(3_000, 180)
    events = [paid, activation_failed(paid.consideration), refunded(paid.consideration)]
    sums: dict[str, int] = {}
    for event in events:
        for posting in post(event, T0, RULES).postings:
            sums[posting.account] = sums.get(posting.account, 0) + posting.amount_minor
    assert set(sums.values()) == {0}


def test_parts_of_any_event_that_do_not_add_up_halt() -> None:
    paid = captured(3_000, 180).consideration
    wallet = WalletCharged(
        account_id="acct-1",
        charge_id="acct-1-chg-1",
        renewal_id="acct-1-rnw-1",
        amount=money(3_181),
        consideration=paid,
        takes=[take("acct-1-paid-1", "paid", 3_181)],
        rule_version="1",
        balance_after=money(0),
        charged_at=T0,
    )
    refund = refunded(paid).model_copy(update={"amount": money(3_179)})
    for wrong in (wallet, refund):
        with pytest.raises(Park, match=f"{type(wrong).__name__} of acct-1: net, tax") as parked:
            post(wrong, T0, RULES)
        assert parked.value.reason == "amounts_contradict"


def test_parts_that_do_not_add_up_halt() -> None:
    wrong = captured(3_000, 180).model_copy(update={"amount": money(3_181)})
    with pytest.raises(Park) as parked:
        post(wrong, T0, RULES)
    assert (parked.value.reason, str(parked.value)) == (
        "amounts_contradict",
        (
            "PaymentCaptured of acct-1: net, tax and bonus do not add up to the amount. Nothing was "
            "booked; deploy a version that books it, then `perennial shards resume`"
        ),
    )


def test_mixed_currencies_halt() -> None:
    other = captured(3_000, 180).consideration.model_copy(update={"tax": money(180, "EUR")})
    wrong = captured(3_000, 180).model_copy(update={"consideration": other})
    with pytest.raises(Park) as parked:
        post(wrong, T0, RULES)
    assert (parked.value.reason, str(parked.value)) == (
        "amounts_contradict",
        (
            "PaymentCaptured of acct-1 mixes USD and EUR: nothing was booked; deploy a version that "
            "books it, then `perennial shards resume`"
        ),
    )


def test_fee_is_booked_in_its_own_currency_and_each_currency_balances() -> None:
    paid = captured(3_000, currency="CNY", fee=13, fee_currency="USD")
    assert [
        (posting.account, posting.amount_minor, posting.currency, posting.rule_id)
        for posting in post(paid, T0, RULES).postings
    ] == [
        (GATEWAY, 3_000, "CNY", "capture-net"),
        (PLANS, -3_000, "CNY", "capture-net"),
        (FEES, 13, "USD", "capture-fee"),
        (GATEWAY, -13, "USD", "capture-fee"),
    ]


@pytest.mark.parametrize(("fee", "booked"), [(0, []), (50, [50, -50])])
def test_fee_of_nothing_books_nothing_and_one_above_the_amount_is_booked(
    fee: int, booked: list[int]
) -> None:
    found = post(captured(30, fee=fee), T0, RULES).postings
    assert [each.amount_minor for each in found if each.rule_id == "capture-fee"] == booked


def test_fee_of_a_wallet_payment_has_no_rule_and_halts() -> None:
    with pytest.raises(Park, match=r"no posting rule for PaymentCaptured\.renewal\.wallet\.fee"):
        post(captured(3_000, 180, fee=5, method=IN_WALLET), T0, RULES)


def test_tax_on_a_top_up_has_no_rule_and_halts() -> None:
    with pytest.raises(Park, match=r"no posting rule for PaymentCaptured\.topup\.card\.tax"):
        post(captured(3_000, 180, topup=True, method=CARD), T0, RULES)

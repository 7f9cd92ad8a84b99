"""Refunds of one payment: a second one, a partial one, one that is split unlike what was paid.

The history is written by hand: a renewal of 11.33 and 0.67 tax was paid by 5.00 of bonus, a discount,
and 7.00 of paid credit, of which 0.39 is tax.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from schemas.envelope import Event
from schemas.ledger import WalletCharged
from schemas.orders import Consideration
from schemas.requests import PaymentMethod
from services.ledger.decider import RestoreCharge
from services.ledger.rules.postings import post
from services.ledger.rules.rule_file import load_rules
from services.ledger.verification.refund_check import ADVICE, RefundCheck
from services.runtime.errors import Park
from services.runtime.processor import Decision
from services.runtime.verify.checks import Check
from tests.controls import T0
from tests.unit.ledger.builders import (
    CARD,
    IN_WALLET,
    WALLET,
    activation_failed,
    bonus,
    captured,
    consideration,
    money,
    refunded,
    surplus,
    surplus_returned,
    take,
    topped_up,
)
from tests.unit.ledger.verification.test_ledger_checks import stored

RULES = load_rules()
PAID = consideration(661, 39, 500)
CHARGED = WalletCharged(
    account_id="acct-1",
    charge_id="acct-1-chg-1",
    renewal_id="acct-1-rnw-1",
    amount=money(1_200),
    consideration=PAID,
    takes=[take("acct-1-bonus-1", "bonus", 500), take("acct-1-paid-1", "paid", 700)],
    rule_version="1",
    balance_after=money(2_300),
    charged_at=T0,
)
HISTORY = [bonus(500), topped_up(3_000), CHARGED]
LIKE_IT = refunded(PAID, method=IN_WALLET)
PARTS = {
    "a part of it": consideration(330, 20, 250),
    "its paid part alone": consideration(661, 39),
    "its bonus alone": consideration(0, 0, 500),
}
UNLIKE = {
    "all of it as paid credit": consideration(1_133, 67),
    "all of it as bonus": consideration(0, 0, 1_200),
    "a cent of bonus as paid credit": consideration(662, 39, 499),
    "a cent of paid credit as bonus": consideration(660, 39, 501),
    "its tax as net": consideration(700, 0, 500),
}


def held(*events: Event) -> dict[str, int]:
    """Return what each lot holds."""
    lots = WALLET.given(*HISTORY, *events).lots
    return {lot_id: lot.remaining_minor for lot_id, lot in lots.items()}


def sums(*events: Event) -> dict[str, int]:
    """Return the balance of each account that is not zero."""
    balances: dict[str, int] = {}
    for event in events:
        for posting in post(event, T0, RULES).postings:
            balances[posting.account] = balances.get(posting.account, 0) + posting.amount_minor
    return {account: minor for account, minor in balances.items() if minor}


def checked(*events: Event) -> Check:
    """Show events to the check of refunds."""
    check = RefundCheck()
    for position, event in enumerate(events, 1):
        check.look(stored(event, position), event)
    return check.result()


def told(refunds: int, problem: str | None = None) -> Check:
    return Check("refunds are owed", f"{refunds} refunds with what was owed", problem, ADVICE)


def problem(position: int, event: Event, payment: str, wrong: str) -> str:
    name = f"shard 2 position {position} ({event.wire_type()} {stored(event, position).event_id})"
    return f"{name}: money went back for {payment}, where {wrong}"


def test_refund_split_like_its_charge_fills_both_lots_again() -> None:
    assert held() == {"acct-1-bonus-1": 0, "acct-1-paid-1": 2_300}
    assert WALLET.when(RestoreCharge(LIKE_IT), given=HISTORY) == Decision()
    assert held(LIKE_IT) == {"acct-1-bonus-1": 500, "acct-1-paid-1": 3_000}


def test_refund_split_like_its_charge_leaves_what_was_topped_up_in_the_books() -> None:
    failed = activation_failed(PAID, method=IN_WALLET)
    assert sums(*HISTORY, failed) == {
        "Assets:Gateway:Card": 3_000,
        "Liabilities:Wallet:Paid:acct-1": -2_300,
        "Liabilities:Refunds:Payable": -700,
    }
    assert sums(*HISTORY, failed, LIKE_IT) == {
        "Assets:Gateway:Card": 3_000,
        "Liabilities:Wallet:Paid:acct-1": -3_000,
        "Liabilities:Wallet:BonusOffset": 500,
        "Liabilities:Wallet:Bonus:acct-1": -500,
    }


@pytest.mark.parametrize("split", (PARTS | UNLIKE).values(), ids=PARTS | UNLIKE)
def test_refund_of_a_part_or_split_unlike_its_charge_halts(split: Consideration) -> None:
    with pytest.raises(Park, match="the refund of acct-1-rnw-1 is not what the wallet paid"):
        WALLET.when(RestoreCharge(refunded(split, method=IN_WALLET)), given=HISTORY)


@pytest.mark.parametrize("split", [PAID, *PARTS.values()], ids=["all of it", *PARTS])
def test_second_refund_of_a_charge_halts_and_fills_no_lot(split: Consideration) -> None:
    second = refunded(split, method=IN_WALLET)
    with pytest.raises(Park, match="the wallet holds no charge for acct-1-rnw-1"):
        WALLET.when(RestoreCharge(second), given=[*HISTORY, LIKE_IT])
    assert held(LIKE_IT, second) == {"acct-1-bonus-1": 500, "acct-1-paid-1": 3_000}


@pytest.mark.parametrize("method", [CARD, IN_WALLET])
def test_refund_of_what_was_owed_passes_the_check(method: PaymentMethod) -> None:
    owed = activation_failed(PAID, method=method)
    assert checked(owed, refunded(PAID, method=method)) == told(1)


def test_two_payments_of_one_account_are_each_refunded_once() -> None:
    owed = [activation_failed(consideration(100 * n), number=n) for n in (1, 2)]
    paid = [refunded(consideration(100 * n), number=n) for n in (2, 1)]
    assert checked(*owed, *paid) == told(2)


@pytest.mark.parametrize("split", (PARTS | UNLIKE).values(), ids=PARTS | UNLIKE)
def test_check_finds_a_refund_of_a_part_or_split_unlike_what_was_owed(
    split: Consideration,
) -> None:
    owed, paid = activation_failed(PAID, method=IN_WALLET), refunded(split, method=IN_WALLET)
    wrong = problem(2, paid, "acct-1-pay-1", "another amount, split or way is owed")
    assert checked(owed, paid) == told(1, wrong)


def test_check_finds_a_refund_through_a_gateway_of_what_the_wallet_paid() -> None:
    whole = consideration(661, 39)
    paid = refunded(whole, method=CARD)
    wrong = problem(2, paid, "acct-1-pay-1", "another amount, split or way is owed")
    assert checked(activation_failed(whole, method=IN_WALLET), paid) == told(1, wrong)


@pytest.mark.parametrize("second", [consideration(3_000, 180), consideration(1_000, 60)])
def test_check_finds_a_second_refund_through_a_gateway(second: Consideration) -> None:
    whole = consideration(3_000, 180)
    again = refunded(second)
    history = [captured(3_000, 180), activation_failed(whole), refunded(whole), again]
    assert checked(*history) == told(2, problem(4, again, "acct-1-pay-1", "nothing is owed"))


def test_check_names_the_first_refund_that_was_not_owed() -> None:
    first, second = (refunded(consideration(100), number=number) for number in (1, 2))
    wrong = problem(1, first, "acct-1-pay-1", "nothing is owed")
    assert checked(first, second) == told(2, wrong)


def test_refund_of_another_account_with_the_same_payment_id_is_not_owed() -> None:
    owed = activation_failed(consideration(100))
    paid = refunded(consideration(100)).model_copy(update={"account_id": "acct-2"})
    assert checked(owed, paid) == told(1, problem(2, paid, "acct-1-pay-1", "nothing is owed"))


def test_surplus_goes_back_once_and_whole() -> None:
    paid = surplus(3_180)
    back = surplus_returned(paid)
    assert checked(paid, back) == told(1)
    less = back.model_copy(update={"amount": money(3_179)})
    assert checked(paid, less) == told(
        1, problem(2, less, "acct-1-sur-1", "another amount, split or way is owed")
    )
    assert checked(paid, back, back) == told(2, problem(3, back, "acct-1-sur-1", "nothing is owed"))


def test_surplus_of_a_top_up_is_owed_to_nobody() -> None:
    paid, back = surplus(3_180, topup=True), surplus_returned(surplus(3_180))
    assert checked(paid, back) == told(1, problem(2, back, "acct-1-sur-1", "nothing is owed"))


def test_open_debt_takes_few_bytes() -> None:
    whole, count = consideration(3_000, 180), 500
    debts = [activation_failed(whole, number=number) for number in range(count)]
    check, where = RefundCheck(), stored(debts[0], 1)
    tracemalloc.start()
    try:
        for debt in debts:
            check.look(where, debt.model_copy(deep=True))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 400 * count
    for number in range(count):
        check.look(where, refunded(whole, number=number))
    assert check.result() == told(count)

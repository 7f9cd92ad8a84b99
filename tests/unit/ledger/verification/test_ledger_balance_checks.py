"""What is said of balances that differ, and of books that cannot be sound."""

from __future__ import annotations

import pytest

from services.ledger.verification.balance_checks import same, sound
from services.ledger.verification.body_check import RESTORE
from services.runtime.errors import Park
from services.runtime.verify.checks import Check

CARD, FEES = "Assets:Gateway:Card", "Expenses:GatewayFees"
BONUS, OFFSET = "Liabilities:Wallet:Bonus:acct-1", "Liabilities:Wallet:BonusOffset"
PAID = "Liabilities:Wallet:Paid:acct-1"
PARK = Park("posting_rule_missing", "no rule")
SIDES = "read `perennial ledger statement` of that account: which event took too much?"
KEY = (2, CARD, "USD")


def test_equal_balances_are_counted() -> None:
    balances = {KEY: 5, (3, FEES, "JPY"): 7}
    assert same("cache = columns", balances, dict(balances), "rebuild") == Check(
        "cache = columns", "2 balances"
    )


@pytest.mark.parametrize(
    ("left", "right", "compared", "told"),
    [
        ({KEY: 5}, {KEY: 6}, "1 balances", "cache 5, columns 6"),
        ({}, {KEY: 6}, "1 balances", "cache has none, columns 6"),
        ({KEY: 0}, {}, "0 balances", "cache 0, columns has none"),
        ({(9, FEES, "USD"): 1, KEY: 5}, {KEY: 6}, "1 balances", "cache 5, columns 6"),
    ],
)
def test_first_difference_is_told_with_both_sides(
    left: dict[tuple[int, str, str], int],
    right: dict[tuple[int, str, str], int],
    compared: str,
    told: str,
) -> None:
    problem = f"{CARD} USD in shard 2: {told}"
    assert same("cache = columns", left, right, "rebuild") == Check(
        "cache = columns", compared, problem, "rebuild"
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [(PARK, {}), ({}, PARK)],
)
def test_fold_that_could_not_be_made_is_the_problem(
    left: dict[tuple[int, str, str], int] | Park, right: dict[tuple[int, str, str], int] | Park
) -> None:
    assert same("cache = columns", left, right, "rebuild") == Check(
        "cache = columns", "nothing", "no rule", "rebuild"
    )


def test_sound_books_pass_and_say_what_was_looked_at() -> None:
    totals = {
        (CARD, "USD"): 90,
        (FEES, "USD"): 10,
        (PAID, "USD"): -100,
        (BONUS, "USD"): -5,
        (OFFSET, "USD"): 5,
        (CARD, "JPY"): 0,
        (FEES, "JPY"): 3,
        (PAID, "JPY"): -3,
    }
    assert sound(totals) == [
        Check("trial balance is zero", "2 currencies", None, RESTORE),
        Check("bonus is cancelled", "1 currencies", None, RESTORE),
        Check("normal sides", "8 accounts", None, SIDES),
    ]


def test_books_that_do_not_sum_to_zero_are_told_by_currency() -> None:
    trial, bonus, sides = sound({(CARD, "JPY"): 0, (CARD, "USD"): 7})
    problem = "all accounts sum to 7 USD"
    assert trial == Check("trial balance is zero", "2 currencies", problem, RESTORE)
    assert (bonus.ok, sides.ok) == (True, True)


def test_bonus_that_its_offset_does_not_cancel_is_told() -> None:
    trial, bonus, sides = sound({(BONUS, "USD"): -5, (OFFSET, "USD"): 4, (CARD, "USD"): 1})
    problem = "bonus and its offset sum to -1 USD"
    assert bonus == Check("bonus is cancelled", "1 currencies", problem, RESTORE)
    assert (trial.ok, sides.ok) == (True, True)


@pytest.mark.parametrize(
    ("account", "minor", "normal"),
    [(PAID, 1, "credit"), (BONUS, 1, "credit"), (OFFSET, -1, "debit")],
)
def test_account_on_the_wrong_side_is_told_and_the_first_one_only(
    account: str, minor: int, normal: str
) -> None:
    totals = {(account, "USD"): minor, (PAID + "z", "USD"): 1}
    problem = f"{account} holds {minor} USD, not a {normal} balance"
    assert sound(totals)[2] == Check("normal sides", "2 accounts", problem, SIDES)
    assert sound({(account, "USD"): 0})[2].ok


def test_gateway_may_stand_on_either_side() -> None:
    assert [sound({(CARD, "USD"): minor})[2].ok for minor in (-1, 1)] == [True, True]

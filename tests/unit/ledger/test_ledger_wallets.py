"""What a wallet holds and whether it can pay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.ledger import LowBalanceDetected, WalletChargeRefused
from services.ledger.decider import AddLot, FileFact, IgnoredReason, RestoreCharge, WalletState
from services.runtime.errors import Halt
from services.runtime.processor import Decision, Ignored
from tests.controls import T0
from tests.unit.ledger.builders import (
    IN_WALLET,
    WALLET,
    bonus,
    charge,
    charged,
    consideration,
    money,
    refunded,
    take,
    topped_up,
)

DAY = timedelta(days=1)


def decided(outcome: Decision | Ignored) -> Decision:
    assert isinstance(outcome, Decision)
    return outcome


def remaining(state: WalletState) -> dict[str, int]:
    return {lot_id: lot.remaining_minor for lot_id, lot in state.lots.items()}


def test_lot_that_expires_first_is_spent_first() -> None:
    given = [
        topped_up(500, 1, expires_at=T0 + 9 * DAY),
        topped_up(500, 2, expires_at=T0 + 3 * DAY),
        topped_up(500, 3),
    ]
    outcome = decided(WALLET.when(charge(1200), given=given))
    assert charged(outcome.events).takes == [
        take("acct-1-paid-2", "paid", 500),
        take("acct-1-paid-1", "paid", 500),
        take("acct-1-paid-3", "paid", 200),
    ]


def test_bonus_is_spent_before_paid_credit_of_the_same_expiry() -> None:
    expires_at = T0 + DAY
    given = [topped_up(500, expires_at=expires_at), bonus(200, expires_at=expires_at)]
    outcome = decided(WALLET.when(charge(300), given=given))
    assert charged(outcome.events).takes == [
        take("acct-1-bonus-1", "bonus", 200),
        take("acct-1-paid-1", "paid", 100),
    ]


def test_earlier_expiring_paid_credit_is_spent_before_later_expiring_bonus() -> None:
    given = [bonus(200, expires_at=T0 + 2 * DAY), topped_up(500, expires_at=T0 + DAY)]
    outcome = decided(WALLET.when(charge(600), given=given))
    assert [each.kind for each in charged(outcome.events).takes] == ["paid", "bonus"]


def test_lots_alike_are_spent_in_order_of_arrival() -> None:
    given = [topped_up(100, 7), topped_up(100, 3)]
    outcome = decided(WALLET.when(charge(150), given=given))
    assert [each.lot_id for each in charged(outcome.events).takes] == [
        "acct-1-paid-7",
        "acct-1-paid-3",
    ]


def test_lot_pays_until_the_moment_it_expires_and_not_from_then_on() -> None:
    given = [topped_up(500, expires_at=T0 + DAY)]
    before = WALLET.when(charge(500, at=T0 + DAY - timedelta(microseconds=1)), given=given)
    at = WALLET.when(charge(500, at=T0 + DAY), given=given)
    assert charged(decided(before).events).balance_after == money(0)
    (refusal,) = decided(at).events
    assert isinstance(refusal, WalletChargeRefused)
    assert refusal.available == money(0)


def test_charge_beyond_the_balance_is_refused_with_what_is_available() -> None:
    given = [topped_up(300), bonus(100)]
    (refusal,) = decided(WALLET.when(charge(401), given=given)).events
    assert isinstance(refusal, WalletChargeRefused)
    assert refusal.available == money(400)
    assert remaining(WALLET.given(*given, refusal)) == remaining(WALLET.given(*given))


def test_credit_in_another_currency_cannot_pay() -> None:
    (refusal,) = decided(WALLET.when(charge(100), given=[topped_up(9_000, currency="EUR")])).events
    assert isinstance(refusal, WalletChargeRefused)
    assert refusal.available == money(0)


def test_bonus_is_a_discount_and_tax_is_on_the_paid_part_rounded_down() -> None:
    given = [bonus(500, expires_at=T0 + DAY), topped_up(3_000)]
    found = charged(decided(WALLET.when(charge(1_133, 67), given=given)).events)
    assert found.consideration == consideration(661, 39, 500)
    assert found.amount == money(1_200)


def test_wallet_of_bonus_alone_pays_without_tax() -> None:
    found = charged(decided(WALLET.when(charge(1_000, 60), given=[bonus(2_000)])).events)
    assert found.consideration == consideration(0, 0, 1_060)


def test_charge_across_the_threshold_says_that_the_balance_is_low() -> None:
    outcome = decided(WALLET.when(charge(700, low=money(300)), given=[topped_up(900)]))
    notice = outcome.events[-1]
    assert isinstance(notice, LowBalanceDetected)
    assert (notice.balance, notice.threshold) == (money(200), money(300))


@pytest.mark.parametrize(("held", "spent"), [(900, 600), (299, 100)])
def test_charge_that_does_not_cross_the_threshold_gives_no_notice(held: int, spent: int) -> None:
    outcome = decided(WALLET.when(charge(spent, low=money(300)), given=[topped_up(held)]))
    assert len(outcome.events) == 1


def test_charge_asked_twice_is_answered_once() -> None:
    given = [topped_up(900)]
    answer = decided(WALLET.when(charge(100), given=given)).events
    again = WALLET.when(charge(100), given=[*given, *answer])
    assert again == Ignored(IgnoredReason.CHARGE_ALREADY_ANSWERED)


def test_refused_charge_asked_twice_is_answered_once_even_after_a_top_up() -> None:
    answer = decided(WALLET.when(charge(100))).events
    again = WALLET.when(charge(100), given=[*answer, topped_up(900)])
    assert again == Ignored(IgnoredReason.CHARGE_ALREADY_ANSWERED)


def test_refund_gives_every_lot_back_what_it_gave() -> None:
    given = [bonus(500, expires_at=T0 + DAY), topped_up(3_000)]
    answer = charged(decided(WALLET.when(charge(1_133, 67), given=given)).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    outcome = WALLET.when(RestoreCharge(refund), given=[*given, answer])
    assert outcome == Decision()
    assert remaining(WALLET.given(*given, answer, refund)) == remaining(WALLET.given(*given))


def test_restored_lot_keeps_its_expiry() -> None:
    given = [topped_up(500, expires_at=T0 + DAY)]
    answer = charged(decided(WALLET.when(charge(500), given=given)).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    late = WALLET.when(charge(500, number=2, at=T0 + 2 * DAY), given=[*given, answer, refund])
    (refusal,) = decided(late).events
    assert isinstance(refusal, WalletChargeRefused)


def test_refund_of_what_the_wallet_never_paid_halts() -> None:
    with pytest.raises(Halt, match="holds no charge"):
        WALLET.when(RestoreCharge(refunded(consideration(100), method=IN_WALLET)))


def test_refund_of_another_amount_than_charged_halts() -> None:
    given = [topped_up(900)]
    answer = charged(decided(WALLET.when(charge(100), given=given)).events)
    refund = refunded(consideration(99), method=IN_WALLET)
    with pytest.raises(Halt, match="not what the wallet paid"):
        WALLET.when(RestoreCharge(refund), given=[*given, answer])


def test_same_lot_twice_halts() -> None:
    with pytest.raises(Halt, match="exists already"):
        WALLET.when(AddLot(topped_up(500)), given=[topped_up(500)])


def test_charge_whose_parts_do_not_add_up_halts() -> None:
    command = charge(100)
    wrong = command.request.model_copy(update={"amount": money(101)})
    with pytest.raises(Halt, match="do not add up"):
        WALLET.when(type(command)(wrong, None, T0), given=[topped_up(900)])


def test_fact_that_moves_no_wallet_is_filed_without_consequence() -> None:
    assert WALLET.when(FileFact()) == Decision()

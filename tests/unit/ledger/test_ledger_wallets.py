"""What a wallet holds and whether it can pay."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import process_time

import pytest

from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected, WalletCharged, WalletChargeRefused
from schemas.money import AMOUNT_MINOR_MAX
from schemas.orders import Consideration
from services.ledger.decider import AddLot, FileFact, IgnoredReason, RestoreCharge, decide
from services.ledger.wallets import WalletState, evolve
from services.runtime.errors import Park
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
NEVER = datetime.max.replace(tzinfo=UTC)


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


def test_last_minor_unit_of_a_lot_pays_too() -> None:
    found = charged(
        decided(WALLET.when(charge(301), given=[topped_up(300), topped_up(1, 2)])).events
    )
    assert found.takes == [take("acct-1-paid-1", "paid", 300), take("acct-1-paid-2", "paid", 1)]


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


@pytest.mark.parametrize(("held", "spent"), [(900, 700), (300, 100), (499, 299)])
def test_charge_across_the_threshold_says_that_the_balance_is_low(held: int, spent: int) -> None:
    outcome = decided(WALLET.when(charge(spent, low=money(300)), given=[topped_up(held)]))
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


def test_reasons_are_the_words_that_metrics_know() -> None:
    assert [*IgnoredReason] == ["charge_already_answered", "renewal_already_charged"]


def test_renewal_that_the_wallet_paid_is_not_charged_under_another_id() -> None:
    given = [topped_up(900)]
    answer = decided(WALLET.when(charge(100), given=given)).events
    other = charge(100).request.model_copy(update={"charge_id": "acct-1-chg-2"})
    again = WALLET.when(replace(charge(100), request=other), given=[*given, *answer])
    assert again == Ignored(IgnoredReason.RENEWAL_ALREADY_CHARGED)


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


def _returned(*given: Event, asked_at: datetime, returned_at: datetime) -> WalletState:
    """Charge 500, and have it given back."""
    command = charge(500, at=asked_at)
    answer = charged(decided(WALLET.when(command, given=given)).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    refund = refund.model_copy(update={"completed_at": returned_at})
    return WALLET.given(*given, command.request, answer, refund)


def test_credit_that_expired_meanwhile_comes_back_with_the_life_it_had() -> None:
    lot = topped_up(500, expires_at=T0 + DAY)
    state = _returned(lot, asked_at=T0, returned_at=T0 + 9 * DAY)
    assert state.spendable("USD", T0 + 10 * DAY - timedelta(microseconds=1))
    assert not state.spendable("USD", T0 + 10 * DAY)


def test_what_was_left_of_the_lot_does_not_live_longer_for_it() -> None:
    lot = topped_up(800, expires_at=T0 + DAY)
    state = _returned(lot, asked_at=T0, returned_at=T0 + 9 * DAY)
    assert sorted(remaining(state).values()) == [300, 500]
    (back,) = state.spendable("USD", T0 + 9 * DAY)
    assert (back.remaining_minor, back.expires_at) == (500, T0 + 10 * DAY)
    again = charged(decided(decide(charge(500, number=2, at=T0 + 9 * DAY), state)).events)
    assert again.takes == [take(back.lot_id, "paid", 500)]


def test_credit_asked_for_before_it_expired_and_answered_after_comes_back_usable() -> None:
    lot = topped_up(500, expires_at=T0 + DAY)
    command = charge(500, at=T0 + DAY - timedelta(minutes=5))
    late = replace(command, now=T0 + DAY + timedelta(minutes=5))
    answer = charged(decided(WALLET.when(late, given=[lot])).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    refund = refund.model_copy(update={"completed_at": T0 + 9 * DAY})
    state = WALLET.given(lot, command.request, answer, refund)
    (back,) = state.spendable("USD", T0 + 9 * DAY)
    assert back.expires_at == T0 + 9 * DAY + timedelta(minutes=5)


@pytest.mark.parametrize("returned_at", [NEVER, T0 - 99 * DAY])
def test_moment_of_a_refund_however_far_neither_fails_nor_shortens_a_life(
    returned_at: datetime,
) -> None:
    lot = topped_up(500, expires_at=T0 + DAY)
    (back,) = _returned(lot, asked_at=T0, returned_at=returned_at).lots.values()
    assert back.expires_at is not None
    assert back.expires_at >= T0 + DAY


def test_credit_without_expiry_comes_back_into_its_lot() -> None:
    state = _returned(topped_up(800), asked_at=T0, returned_at=T0 + 9 * DAY)
    assert remaining(state) == {"acct-1-paid-1": 800}


def test_two_charges_given_back_into_one_lot_lose_nothing() -> None:
    lot = topped_up(500, expires_at=T0 + DAY)
    given: list[Event] = [lot]
    answers = []
    for number, amount in ((1, 200), (2, 300)):
        command = charge(amount, number=number, at=T0)
        answers.append(charged(decided(WALLET.when(command, given=given)).events))
        given += [command.request, answers[-1]]
    for number, answer in enumerate(answers, 1):
        refund = refunded(answer.consideration, number=number, method=IN_WALLET)
        given.append(refund.model_copy(update={"completed_at": T0 + number * 9 * DAY}))
    assert sum(remaining(WALLET.given(*given)).values()) == 500


def test_refund_of_what_the_wallet_never_paid_halts() -> None:
    with pytest.raises(Park, match="holds no charge"):
        WALLET.when(RestoreCharge(refunded(consideration(100), method=IN_WALLET)))


def test_refund_of_another_amount_than_charged_halts() -> None:
    given = [topped_up(900)]
    answer = charged(decided(WALLET.when(charge(100), given=given)).events)
    refund = refunded(consideration(99), method=IN_WALLET)
    with pytest.raises(Park, match="not what the wallet paid"):
        WALLET.when(RestoreCharge(refund), given=[*given, answer])


def test_second_refund_of_one_charge_halts() -> None:
    given = [topped_up(900)]
    answer = charged(decided(WALLET.when(charge(100), given=given)).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    with pytest.raises(Park, match=r"^wallet/acct-1: the wallet holds no charge") as parked:
        WALLET.when(RestoreCharge(refund), given=[*given, answer, refund])
    assert parked.value.reason == "wallet_contradiction"


@pytest.mark.parametrize(
    "split",
    [
        consideration(90, 10),
        consideration(100).model_copy(update={"tax_jurisdiction": "DE"}),
        consideration(100, currency="EUR"),
        consideration(100).model_copy(update={"tax": money(0, "EUR")}),
    ],
)
def test_refund_that_is_split_unlike_its_charge_halts(split: Consideration) -> None:
    given = [topped_up(900)]
    answer = charged(decided(WALLET.when(charge(100), given=given)).events)
    refund = refunded(answer.consideration, method=IN_WALLET)
    wrong = refund.model_copy(update={"refund": split})
    with pytest.raises(Park, match=r"^wallet/acct-1: .* not what the wallet paid"):
        WALLET.when(RestoreCharge(wrong), given=[*given, answer])


def test_credit_that_comes_back_as_a_lot_is_named_by_its_refund_and_its_lot() -> None:
    state = _returned(topped_up(800, expires_at=T0 + DAY), asked_at=T0, returned_at=T0 + 9 * DAY)
    name = hashlib.sha256(b"acct-1-rfd-1/acct-1-paid-1").hexdigest()[:32]
    assert (state.lots[name].remaining_minor, state.lots[name].number) == (500, 1)


def test_same_lot_twice_halts() -> None:
    with pytest.raises(Park, match="exists already"):
        WALLET.when(AddLot(topped_up(500)), given=[topped_up(500)])


def test_charge_whose_parts_do_not_add_up_halts() -> None:
    command = charge(100)
    wrong = command.request.model_copy(update={"amount": money(101)})
    with pytest.raises(Park, match="do not add up"):
        WALLET.when(type(command)(wrong, None, T0), given=[topped_up(900)])


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (AddLot(topped_up(500)), "lot acct-1-paid-1 exists already"),
        (
            replace(
                charge(100),
                request=charge(100).request.model_copy(update={"amount": money(101)}),
            ),
            "net and tax of charge acct-1-chg-1 do not add up to its amount",
        ),
        (
            RestoreCharge(refunded(consideration(100), method=IN_WALLET)),
            "the wallet holds no charge for acct-1-rnw-1, which is to be given back",
        ),
    ],
)
def test_contradiction_names_the_wallet_the_fact_and_what_to_do(
    command: object, problem: str
) -> None:
    with pytest.raises(Park) as parked:
        WALLET.when(command, given=[topped_up(500)])
    assert str(parked.value) == (
        f"wallet/acct-1: {problem}. Nothing was filed; find out with `perennial ledger statement` "
        "which producer is wrong, correct it, then `perennial shards resume`"
    )
    assert parked.value.reason == "wallet_contradiction"


def test_fact_that_moves_no_wallet_is_filed_without_consequence() -> None:
    assert WALLET.when(FileFact()) == Decision()


def test_wallet_holds_and_spends_more_than_64_bits() -> None:
    lots = [topped_up(AMOUNT_MINOR_MAX, number) for number in range(9_300)]
    state = WALLET.given(*lots)
    assert sum(remaining(state).values()) > 2**63
    command = charge(AMOUNT_MINOR_MAX, low=money(300))
    (answer,) = decided(decide(command, state)).events
    assert isinstance(answer, WalletCharged)
    assert answer.balance_after == money(AMOUNT_MINOR_MAX)
    assert sum(remaining(evolve(state, answer)).values()) == 9_299 * AMOUNT_MINOR_MAX


def _busy(count: int) -> list[Event]:
    """Return a wallet's past of `count` charges."""
    answer = charged(decided(WALLET.when(charge(100), given=[topped_up(AMOUNT_MINOR_MAX)])).events)
    return [topped_up(AMOUNT_MINOR_MAX)] + [
        answer.model_copy(update={"charge_id": f"chg-{number}", "renewal_id": f"rnw-{number}"})
        for number in range(count)
    ]


def _cpu_seconds(events: list[Event]) -> float:
    begun = process_time()
    WALLET.given(*events)
    return process_time() - begun


def test_wallet_of_many_charges_folds_in_time_that_grows_with_their_number_only() -> None:
    few, many = _busy(2_500), _busy(20_000)
    assert min(_cpu_seconds(many) for _ in range(3)) < 24 * min(_cpu_seconds(few) for _ in range(3))
    assert min(_cpu_seconds(many) for _ in range(2)) < 1


def test_state_that_somebody_holds_never_changes() -> None:
    state = WALLET.given(topped_up(900))
    before = (dict(state.lots.items()), len(state.charges), len(state.answered))
    answer = charged(decided(decide(charge(100), state)).events)
    evolve(state, answer)
    assert (dict(state.lots.items()), len(state.charges), len(state.answered)) == before

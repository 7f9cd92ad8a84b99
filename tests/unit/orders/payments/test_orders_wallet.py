"""Wallets: what they pay, and how top-ups fill them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.confirmations import PaymentConfirmed
from schemas.ledger import (
    ChargeRefusalReason,
    LotTake,
    WalletCharged,
    WalletChargeRefused,
)
from schemas.orders import (
    BonusGranted,
    Consideration,
    DeclineReason,
    PaymentCaptured,
    PaymentFailed,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited, SurplusReason
from services.orders.catalogue.catalogue import Catalogue
from services.orders.decider import decide
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.payments.commands import (
    ApplyWalletCharged,
    ApplyWalletRefusal,
    RecordConfirmation,
)
from services.orders.payments.gateways.gateway import Found
from services.runtime.errors import Park, Poison
from services.runtime.processor import Ignored
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    POLICY,
    RULES,
    by_token,
    confirmation,
    from_wallet,
    in_app,
    usd,
)
from tests.unit.orders.steps import (
    CHARGE_ID,
    ORDER,
    TOP_UP,
    ask,
    ask_top_up,
    confirm_top_up,
    hint,
    last,
    outcomes,
)
from tests.unit.orders.world import World

REFUSED = WalletChargeRefused(
    account_id="acct-1",
    charge_id=CHARGE_ID,
    renewal_id="ren-1",
    amount=usd(2120),
    available=usd(7),
    reason=ChargeRefusalReason.INSUFFICIENT_FUNDS,
    refused_at=NOW,
)


def wallet_charged(**changes: Any) -> WalletCharged:
    consideration = Consideration(net=usd(1620), tax=usd(0), tax_jurisdiction="US", bonus=usd(500))
    fields: dict[str, Any] = {
        "account_id": "acct-1",
        "charge_id": CHARGE_ID,
        "renewal_id": "ren-1",
        "amount": usd(2120),
        "consideration": consideration,
        "takes": [LotTake(lot_id="lot-1", kind="paid", amount=usd(1620))],
        "rule_version": "2025-1",
        "balance_after": usd(0),
        "charged_at": NOW,
    }
    return WalletCharged(**(fields | changes))


def test_wallet_charge_is_stated_as_a_payment_and_activates(world: World) -> None:
    ask(world, payment=from_wallet())
    answer = wallet_charged()
    world.tell(ORDER, lambda now: ApplyWalletCharged(answer, now))
    world.run_until(NOW)
    assert world.names()[2:] == ["PaymentCaptured", "PlanActivated"]
    captured = last(world, PaymentCaptured)
    assert (captured.method, captured.gateway) == (PaymentMethod.WALLET, "wallet")
    assert captured.consideration == answer.consideration
    again = world.tell(ORDER, lambda now: ApplyWalletCharged(answer, now))
    assert again == Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)


def test_empty_wallet_fails_the_payment(world: World) -> None:
    ask(world, payment=from_wallet())
    world.tell(ORDER, lambda now: ApplyWalletRefusal(REFUSED, now))
    assert last(world, PaymentFailed).reason is DeclineReason.INSUFFICIENT_FUNDS
    assert world.effects == {}


def test_wallet_answer_about_another_charge_is_poison(world: World) -> None:
    ask(world, payment=from_wallet())
    with pytest.raises(Poison) as parked:
        world.tell(ORDER, lambda now: ApplyWalletCharged(wallet_charged(charge_id="c-2"), now))
    assert (parked.value.reason, str(parked.value)) == (
        "charge_unknown",
        "the ledger answered a charge this order never asked for: compare both logs",
    )


def test_wallet_answer_to_an_order_that_does_not_wait_is_poison(world: World) -> None:
    ask(world, payment=from_wallet())
    world.tell(ORDER, lambda now: ApplyWalletRefusal(REFUSED, now))
    with pytest.raises(Poison) as parked:
        world.tell(ORDER, lambda now: ApplyWalletCharged(wallet_charged(), now))
    assert (parked.value.reason, str(parked.value)) == (
        "charge_unknown",
        "the ledger paid an order that does not wait for it: compare both logs",
    )
    again = world.tell(ORDER, lambda now: ApplyWalletRefusal(REFUSED, now))
    assert again == Ignored(IgnoredReason.PAYMENT_NOT_AWAITED)


def test_wallet_order_that_cannot_be_activated_is_refunded_into_the_wallet(world: World) -> None:
    ask(world, payment=from_wallet(), iccid="8985203000000009001")
    world.tell(ORDER, lambda now: ApplyWalletCharged(wallet_charged(), now))
    world.run_until(NOW)
    assert world.names()[3:] == ["ActivationFailed", "RefundCompleted"]
    refund = last(world, RefundCompleted)
    assert (refund.method, refund.gateway) == (PaymentMethod.WALLET, "wallet")
    assert refund.refund == wallet_charged().consideration


@pytest.mark.parametrize(
    ("since", "paid", "bonus"),
    [
        ("2026-11-20T08:00:00Z", "2029-11-20T08:00:00Z", "2027-11-20T08:00:00Z"),
        ("2027-03-01T00:00:00Z", "2030-03-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2028-02-29T23:59:59Z", "2031-03-01T23:59:59Z", "2029-03-01T23:59:59Z"),
    ],
)
def test_terms_in_years_end_on_the_day_of_the_calendar(since: str, paid: str, bonus: str) -> None:
    rule = CATALOGUE.top_up_rule_version("top-up-usd", "2026-2")
    assert rule
    moment = datetime.fromisoformat(since)
    assert rule.paid_until(moment) == datetime.fromisoformat(paid)
    assert rule.bonus_until(moment) == datetime.fromisoformat(bonus)


def test_terms_in_days_and_none_are_as_before() -> None:
    rule = CATALOGUE.top_up_rule_version("top-up-usd", "2025-1")
    assert rule
    assert rule.paid_until(NOW) == NOW + timedelta(days=1095)
    endless = rule.model_copy(update={"paid_expiry_days": None})
    assert endless.paid_until(NOW) is None


def test_charged_top_up_is_credited_with_its_bonus(world: World) -> None:
    ask_top_up(world)
    world.run_until(NOW)
    assert world.names() == [
        "TopUpAccepted", "PaymentCaptured", "WalletToppedUp", "BonusGranted",
    ]  # fmt: skip
    captured, credited = last(world, PaymentCaptured), last(world, WalletToppedUp)
    granted = last(world, BonusGranted)
    assert captured.consideration.net == credited.amount == usd(5000)
    assert credited.gateway == captured.gateway == "sandbox"
    assert captured.consideration.tax == captured.consideration.bonus == usd(0)
    assert granted.amount == credited.bonus == usd(500)
    assert granted.lot_id != credited.lot_id
    assert granted.expires_at < credited.expires_at


def test_small_top_up_grants_no_bonus(world: World) -> None:
    ask_top_up(world, amount=usd(500))
    world.run_until(NOW)
    assert world.names()[-1] == "WalletToppedUp"


def test_declined_top_up_credits_nothing(world: World) -> None:
    ask_top_up(world, payment=by_token("tok_bank_limit"))
    world.run_until(NOW)
    assert world.names() == ["TopUpAccepted", "PaymentFailed"]


def test_unknown_top_up_is_credited_once_after_look_up(world: World) -> None:
    ask_top_up(world, payment=by_token("tok_timeout_after"))
    world.run_until(NOW + timedelta(hours=1))
    assert world.names().count("WalletToppedUp") == 1
    assert world.names().count("PaymentCaptured") == 1


def test_late_top_up_payment_is_credited(world: World) -> None:
    ask_top_up(world, payment=in_app())
    world.run_until(NOW + POLICY.confirmation_window)
    confirm_top_up(world)
    assert outcomes(world)[1:4] == ["OrderExpired", "SurplusCaptured", "SurplusCredited"]


def test_top_up_credits_the_amount_really_paid_without_the_bonus_of_another(world: World) -> None:
    ask_top_up(world, payment=in_app())
    confirm_top_up(world, amount=usd(4000))
    assert outcomes(world)[1:] == ["PaymentCaptured", "WalletToppedUp"]
    assert last(world, WalletToppedUp).amount == usd(4000)


def test_second_top_up_payment_is_credited_as_a_lot_of_its_own(world: World) -> None:
    ask_top_up(world, payment=in_app())
    confirm_top_up(world)
    confirm_top_up(world, gateway="another-gateway", gateway_txn_id="txn-2")
    first, second = last(world, WalletToppedUp), last(world, SurplusCredited)
    assert first.lot_id != second.lot_id
    assert second.reason is SurplusReason.PAID_TWICE
    assert (first.gateway, second.gateway) == ("app-gateway", "another-gateway")
    assert world.names().count("BonusGranted") == 1


def test_top_up_whose_rule_left_the_catalogue_halts(world: World) -> None:
    ask_top_up(world, payment=in_app())
    emptied = CATALOGUE.model_copy(update={"top_ups": []})
    assert isinstance(emptied, Catalogue)
    rule = CATALOGUE.top_up_rule("USD", NOW)
    assert rule is not None
    with pytest.raises(Park) as parked:
        _decide_with(world, replace(RULES, catalogue=emptied))
    assert (parked.value.reason, str(parked.value)) == (
        "catalogue_lost",
        (
            f"the catalogue no longer holds version {rule.version} of {rule.rule_id}: "
            "put it back, then start again"
        ),
    )


def _decide_with(world: World, rules: Rules) -> None:
    fields: dict[str, Any] = {"renewal_id": None, "topup_id": "top-1", "amount": usd(5000)}
    hint(world, **fields)
    paid = confirmation(**fields)
    found = Found(
        gateway=paid.gateway,
        gateway_txn_id=paid.gateway_txn_id,
        reference=TOP_UP,
        status="captured",
        amount=paid.amount,
        captured_at=NOW,
    )
    answered = RecordConfirmation(*_named(paid), found, TOP_UP, 0, 1, NOW)
    decide(answered, world.states[TOP_UP], rules)


def _named(paid: PaymentConfirmed) -> tuple[str, str]:
    return paid.gateway, paid.gateway_txn_id


@pytest.mark.parametrize("confirmed_at", [NOW - timedelta(days=4000), NOW + timedelta(days=4000)])
def test_credit_lives_from_when_it_was_recorded_whatever_the_date_of_the_payment(
    world: World, confirmed_at: datetime
) -> None:
    ask_top_up(world, payment=in_app())
    confirm_top_up(world, confirmed_at=confirmed_at)
    credited, granted = last(world, WalletToppedUp), last(world, BonusGranted)
    assert NOW <= credited.topped_up_at < NOW + timedelta(days=1)
    assert credited.expires_at == credited.topped_up_at + timedelta(days=1095)
    assert granted.expires_at == granted.granted_at + timedelta(days=365)

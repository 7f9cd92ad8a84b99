"""A person settles what nothing else tells: recorded with who and why, and done by nobody again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.confirmations import RefundFailed
from schemas.orders import (
    ActivationFailed,
    ActivationFailureReason,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeResolved,
    PlanActivated,
    RefundCompleted,
)
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason
from services.orders.renewals.commands import AcceptRenewal
from services.runtime.errors import Poison, SettlementRefused
from services.runtime.processor import Decision, Ignored, Settlement
from tests.unit.orders.builders import (
    ICCID,
    NOW,
    by_token,
    confirmation,
    in_app,
    renewal,
    usd,
)
from tests.unit.orders.steps import (
    CHARGE_ID,
    ORDER,
    ask,
    ask_top_up,
    charges,
    confirm,
    last,
    pay_in_app,
    shop_gives_back,
)
from tests.unit.orders.world import World

CHARGE = f"charge/{CHARGE_ID}"
REFERENCE = identities.activation_id("acct-1", ORDER)
ACTIVATE = f"activate/{REFERENCE}"
REFUND = f"refund/{identities.refund_id(CHARGE_ID)}"
EXPIRE = f"expire/{ORDER}"
BY = {"by": "li.wei", "reason": "the gateway's statement"}
WHO = ("li.wei", "the gateway's statement")
FOUND = {"outcome": "captured", "gateway": "silent-bank", "reference": "txn-found"}
ACTIVE = {"outcome": "activated", "provider": "sandbox", "reference": "order-77"}
REFUNDED = {"outcome": "refunded", "gateway": "bank", "reference": "transfer-9"}


def settle(world: World, effect: str, **ruling: Any) -> Decision | Ignored:
    return world.settle(effect, Settlement.model_validate(BY | ruling))


def who(event: Any) -> tuple[str, str]:
    return event.settled_by, event.settlement_reason


def unknown(world: World, token: str) -> None:
    """Ask for a renewal whose charge gets no answer, and leave it there."""
    ask(world, payment=by_token(token))
    world.execute(CHARGE)
    assert world.names()[-1] == "PaymentOutcomeUnknown"


def paid(world: World, ending: str = "9007") -> None:
    """Pay a renewal whose provider does not activate it, and leave it there."""
    ask(world, iccid=ICCID[:-4] + ending)
    world.execute(CHARGE)
    world.execute(ACTIVATE)


def activations(world: World) -> int:
    journal = world.ports.provider.journal
    with journal.locked():
        return int(journal.count("activation", REFERENCE))


def refunds(world: World) -> int:
    journal = world.ports.gateway.journal
    with journal.locked():
        return int(journal.count("refund", identities.refund_id(CHARGE_ID)))


# ---- charges ---------------------------------------------------------------------------------------


def test_captured_payment_is_recorded_with_who_and_why_and_buys_the_plan(world: World) -> None:
    unknown(world, "tok_timeout_before")
    world.now = NOW + timedelta(hours=1)
    settle(world, CHARGE, **FOUND)
    world.run_until(world.now)
    resolved, captured = last(world, PaymentOutcomeResolved), last(world, PaymentCaptured)
    assert (resolved.outcome, *who(resolved)) == ("captured", *WHO)
    assert (captured.gateway_txn_id, captured.amount) == ("txn-found", usd(2120))
    assert captured.captured_at == NOW
    assert world.names()[-1] == "PlanActivated"


def test_look_up_after_the_settlement_records_the_same_money_once(world: World) -> None:
    unknown(world, "tok_timeout_after")
    settle(world, CHARGE, **FOUND)
    world.run_until(NOW + timedelta(days=1))
    assert charges(world) == 1
    assert world.names().count("PaymentCaptured") == 1
    assert "SurplusCaptured" not in world.names()
    assert "ActivationFailed" not in world.names()
    assert world.effects == {}


def test_payment_settled_as_not_charged_fails_and_forgets_the_activation(world: World) -> None:
    unknown(world, "tok_timeout_before")
    settle(world, CHARGE, outcome="not_charged")
    resolved = last(world, PaymentOutcomeResolved)
    assert (resolved.outcome, resolved.settled_by) == ("not_charged", "li.wei")
    assert last(world, PaymentFailed).retryable
    world.run_until(NOW + timedelta(days=1))
    assert world.names()[-1] == "PaymentFailed"
    assert world.effects == {}


def test_money_found_after_not_charged_is_given_back(world: World) -> None:
    unknown(world, "tok_timeout_after")
    settle(world, CHARGE, outcome="not_charged")
    world.run_until(NOW + timedelta(days=1))
    assert world.names()[-2:] == ["SurplusCaptured", "SurplusReturned"]


def test_top_up_settled_as_captured_is_credited_from_the_time_that_was_named(world: World) -> None:
    ask_top_up(world, payment=by_token("tok_timeout_before"))
    charge = next(iter(world.effects))
    world.execute(charge)
    world.now = NOW + timedelta(hours=1)
    settle(world, charge, at=NOW + timedelta(minutes=1), **FOUND)
    assert world.names()[-3:] == ["PaymentCaptured", "WalletToppedUp", "BonusGranted"]
    assert last(world, PaymentCaptured).captured_at == NOW + timedelta(minutes=1)


def test_outcome_that_is_known_is_not_settled_again_and_the_charge_goes_on(world: World) -> None:
    ask(world)
    known = Ignored(IgnoredReason.PAYMENT_OUTCOME_NOT_UNKNOWN)
    assert settle(world, CHARGE, outcome="not_charged") == known
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"


def test_settled_payment_is_not_settled_twice(world: World) -> None:
    unknown(world, "tok_timeout_before")
    settle(world, CHARGE, outcome="not_charged")
    known = Ignored(IgnoredReason.PAYMENT_OUTCOME_NOT_UNKNOWN)
    assert settle(world, CHARGE, **FOUND) == known


# ---- activations -----------------------------------------------------------------------------------


def test_plan_found_active_is_recorded_and_not_asked_for_again(world: World) -> None:
    paid(world)
    world.now = NOW + timedelta(hours=2)
    settle(world, ACTIVATE, at=NOW + timedelta(hours=1), **ACTIVE)
    active = last(world, PlanActivated)
    assert who(active) == WHO
    assert (active.provider, active.provider_order_ref) == ("sandbox", "order-77")
    assert (active.activated_at, active.valid_from) == (NOW + timedelta(hours=1),) * 2
    assert active.valid_until - active.valid_from == timedelta(days=30)
    assert world.effects == {}


def test_activation_given_up_is_refunded_and_never_activated(world: World) -> None:
    paid(world, "9101")
    settle(world, ACTIVATE, outcome="not_activated")
    failed = last(world, ActivationFailed)
    assert who(failed) == WHO
    assert failed.reason is ActivationFailureReason.DEADLINE_PASSED
    world.run_until(NOW + timedelta(days=3))
    assert world.names()[-2:] == ["ActivationFailed", "RefundCompleted"]
    assert last(world, RefundCompleted).settled_by is None
    assert (activations(world), refunds(world)) == (0, 1)
    assert world.effects == {}


def test_activation_that_waits_for_its_payment_is_not_settled(world: World) -> None:
    ask(world)
    not_awaited = Ignored(IgnoredReason.ACTIVATION_NOT_AWAITED)
    assert settle(world, ACTIVATE, outcome="not_activated") == not_awaited
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"


# ---- refunds ---------------------------------------------------------------------------------------


def test_refund_made_by_hand_is_recorded_and_not_made_again(world: World) -> None:
    paid(world)
    settle(world, ACTIVATE, outcome="not_activated")
    settle(world, REFUND, **REFUNDED)
    completed = last(world, RefundCompleted)
    assert who(completed) == WHO
    assert (completed.gateway, completed.gateway_refund_ref) == ("bank", "transfer-9")
    assert completed.amount == usd(2120)
    world.run_until(NOW + timedelta(days=3))
    assert refunds(world) == 0
    assert world.effects == {}


def test_refund_that_the_gateway_does_not_make_stays_owed_until_it_is_made(world: World) -> None:
    paid(world)
    settle(world, ACTIVATE, outcome="not_activated")
    settle(world, REFUND, outcome="not_refunded")
    assert who(last(world, RefundFailed)) == WHO
    world.run_until(NOW + timedelta(days=30))
    assert world.names()[-1] == "RefundFailed"
    assert refunds(world) == 0
    settle(world, REFUND, **REFUNDED)
    assert world.names()[-1] == "RefundCompleted"
    assert world.effects == {}


# ---- orders that nobody pays ----------------------------------------------------------------------


def test_unpaid_order_is_closed_and_late_money_goes_back(world: World) -> None:
    ask(world, payment=in_app())
    settle(world, EXPIRE, outcome="expired")
    assert who(last(world, OrderExpired)) == WHO
    assert world.effects == {}
    confirm(world)
    world.run_until(NOW)
    shop_gives_back(world)
    assert world.names()[-3:] == ["SurplusCaptured", "RefundInstructed", "SurplusReturned"]


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ruling", "answer"),
    [
        ("charge", {"outcome": "captured", "reference": "txn"}, "needs --gateway"),
        ("charge", {"outcome": "captured", "gateway": "sandbox"}, "needs --gateway"),
        ("charge", {"outcome": "declined"}, "is captured or not_charged"),
        ("activate", {"outcome": "activated", "provider": "sandbox"}, "needs --provider"),
        ("activate", {"outcome": "captured"}, "is activated or not_activated"),
        ("refund", {"outcome": "refunded", "reference": "txn"}, "needs --gateway"),
        ("refund", {"outcome": "not_charged"}, "is refunded or not_refunded"),
        ("expire", {"outcome": "captured"}, "is expired"),
    ],
)
def test_incomplete_or_foreign_outcome_is_refused_and_the_allowed_ones_are_named(
    world: World, kind: str, ruling: dict[str, str], answer: str
) -> None:
    effect = {"charge": CHARGE, "activate": ACTIVATE, "refund": REFUND, "expire": EXPIRE}[kind]
    if kind == "expire":
        ask(world, payment=in_app())
    elif kind == "charge":
        unknown(world, "tok_timeout_before")
    else:
        paid(world)
    if kind == "refund":
        settle(world, ACTIVATE, outcome="not_activated")
    before = world.names()
    with pytest.raises(SettlementRefused, match=answer):
        settle(world, effect, **ruling)
    assert world.names() == before
    assert effect in world.effects


# -- captured, says a person: the gateway is asked, and one transaction serves one order -----------


def captured(gateway: str, reference: str) -> dict[str, Any]:
    return {"outcome": "captured", "gateway": gateway, "reference": reference}


def transaction(world: World) -> str:
    journal = world.ports.gateway.journal
    with journal.locked():
        return str(next(journal.all("charge"))["txn"])


def test_captured_money_counts_as_the_gateway_tells_it(world: World) -> None:
    unknown(world, "tok_timeout_after")
    settle(world, CHARGE, **captured("sandbox", transaction(world)), at=NOW - timedelta(days=9))
    found = last(world, PaymentCaptured)
    assert (found.amount, found.fee) == (usd(2120), usd(2120 * 29 // 1000))
    assert found.captured_at >= NOW
    assert found.unverified is None
    assert world.claims.owners == {("sandbox", transaction(world)): ORDER}


@pytest.mark.parametrize(
    ("transaction", "told"),
    [
        ("none", "the gateway knows no such transaction"),
        ("txn-down-99", "does not answer about this transaction now: ask again later"),
        ("txn-pending-99", "this transaction is pending, of 21.20 USD: nothing came in"),
        ("txn-cancelled", "this transaction is not_captured, of 21.20 USD: nothing came in"),
        ("txn-of-another", "for another payment: find the right one"),
    ],
)
def test_what_the_gateway_does_not_bear_out_is_refused_and_the_charge_is_looked_up_on(
    world: World, transaction: str, told: str
) -> None:
    unknown(world, "tok_timeout_before")
    for name in ("txn-down-99", "txn-pending-99", "txn-cancelled"):
        pay_in_app(world, confirmation(gateway_txn_id=name))
    other = {"reference": "order/ren-2"}
    pay_in_app(world, confirmation(gateway_txn_id="txn-of-another"), **other)
    events = list(world.events)
    with pytest.raises(SettlementRefused, match=told):
        settle(world, CHARGE, **captured("app-gateway", transaction))
    assert world.events == events
    assert CHARGE in world.effects
    assert world.claims.owners == {}


def test_the_charge_of_another_order_settles_none(world: World) -> None:
    world.tell("order/ren-2", lambda now: AcceptRenewal(renewal(renewal_id="ren-2"), now))
    world.run_until(NOW)
    unknown(world, "tok_timeout_before")
    with pytest.raises(SettlementRefused, match="for another payment"):
        settle(world, CHARGE, **captured("sandbox", transaction(world)))


def test_what_the_customer_paid_in_the_app_meanwhile_settles_the_order(world: World) -> None:
    unknown(world, "tok_timeout_before")
    pay_in_app(world, confirmation())
    settle(world, CHARGE, **captured("app-gateway", "txn-1"))
    world.run_until(NOW + timedelta(days=3))
    assert world.names()[2:] == ["PaymentOutcomeResolved", "PaymentCaptured", "PlanActivated"]


def test_another_amount_than_was_asked_for_buys_nothing_whoever_says_so(world: World) -> None:
    unknown(world, "tok_timeout_before")
    pay_in_app(world, confirmation(amount=usd(5)))
    settle(world, CHARGE, **captured("app-gateway", "txn-1"))
    assert last(world, PaymentCaptured).amount == usd(5)
    assert last(world, ActivationFailed).reason is ActivationFailureReason.AMOUNT_MISMATCH


def test_one_slip_settles_one_order(world: World) -> None:
    world.claims.owners["silent-bank", "slip"] = "order/ren-2"
    unknown(world, "tok_timeout_before")
    with pytest.raises(Poison, match="slip of silent-bank serves order/ren-2 already"):
        settle(world, CHARGE, **captured("silent-bank", "slip"))
    assert CHARGE in world.effects
    assert "PaymentCaptured" not in world.names()
    assert len(world.states[ORDER].payments) == 0  # type: ignore[union-attr]


def test_money_that_a_person_alone_vouches_for_is_given_back_by_a_person(world: World) -> None:
    ask(world, payment=by_token("tok_timeout_before"), iccid=ICCID[:-4] + "9001")
    world.execute(CHARGE)
    settle(world, CHARGE, **FOUND)
    world.run_until(NOW + timedelta(days=3))
    assert last(world, PaymentCaptured).unverified is True
    assert world.names()[-1] == "ActivationFailed"
    assert world.effects[REFUND].hold_key is not None
    (kept,) = world.unfinished()
    assert (kept.effect_id, kept.hold_key is None) == (REFUND, False)

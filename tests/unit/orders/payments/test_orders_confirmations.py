"""A confirmation is a hint: what the gateway holds, for which order, decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.confirmations import ConfirmationRefusal, PaymentConfirmationRefused
from schemas.orders import (
    PaymentCaptured,
    RefundCompleted,
)
from schemas.requests import PaymentMethod
from services.orders.order.rules import IgnoredReason
from services.orders.payments.confirmations import CONFIRMATIONS_MAX
from services.orders.renewals.commands import AcceptRenewal
from services.runtime.errors import Halt, Poison, SettlementRefused
from services.runtime.processor import Ignored, Settlement
from tests.unit.orders.builders import (
    ICCID,
    NOW,
    POLICY,
    RULES,
    confirmation,
    in_app,
    renewal,
    usd,
)
from tests.unit.orders.steps import (
    ORDER,
    TOP_UP,
    ask,
    ask_gateway,
    ask_top_up,
    charges,
    confirm,
    hint,
    last,
    outcomes,
    pay_in_app,
)
from tests.unit.orders.world import World

TRUSTING = replace(RULES, policy=replace(POLICY, trusted_gateways=frozenset({"silent-bank"})))
SILENT = {"gateway": "silent-bank", "gateway_txn_id": "slip-7"}
SETTLED = Settlement(outcome="settled", by="maria", reason="given back at the bank")
LATER = NOW + timedelta(hours=3)


@pytest.fixture
def trusting(tmp_path: Path) -> Any:
    world = World(tmp_path, TRUSTING)
    yield world
    world.close()


def refusals(world: World) -> list[ConfirmationRefusal]:
    return [each.reason for each in world.events if isinstance(each, PaymentConfirmationRefused)]


def captures(world: World) -> int:
    return world.names().count("PaymentCaptured")


def refunds(world: World) -> list[str]:
    """Return the transactions that the gateway really gave back."""
    journal = world.ports.gateway.journal
    with journal.locked():
        return [entry["txn"] for entry in journal.all("refund")]


def test_what_nobody_paid_is_not_captured_and_the_order_expires(world: World) -> None:
    ask(world, payment=in_app())
    hint(world)
    world.run_until(LATER)
    assert refusals(world) == [ConfirmationRefusal.UNKNOWN_TRANSACTION]
    assert outcomes(world)[-1] == "OrderExpired"
    assert captures(world) == 0
    assert world.effects == {}


def test_not_found_is_believed_only_twice_and_after_a_while(world: World) -> None:
    ask(world, payment=in_app())
    hint(world)
    world.run_until(NOW + POLICY.unknown_settle - timedelta(seconds=1))
    assert refusals(world) == []
    pay_in_app(world, confirmation())
    world.run_until(NOW + POLICY.unknown_settle)
    assert outcomes(world)[1:] == ["PaymentCaptured", "PlanActivated"]


@pytest.mark.parametrize("field", ["amount", "method", "fee", "captured_at"])
def test_the_gateways_word_counts_and_not_that_of_the_confirmation(
    world: World, field: str
) -> None:
    ask(world, payment=in_app())
    pay_in_app(world, confirmation(), fee_minor=61, paid_at=NOW)
    hint(
        world,
        amount=usd(999_999),
        fee=usd(1),
        method=PaymentMethod.PAYPAL,
        confirmed_at=NOW - timedelta(days=4_000),
    )
    ask_gateway(world)
    captured = last(world, PaymentCaptured)
    told = {"amount": usd(2120), "method": PaymentMethod.CARD, "fee": usd(61), "captured_at": NOW}
    assert getattr(captured, field) == told[field]


@pytest.mark.parametrize("paid_at", [NOW - timedelta(days=4_000), NOW + timedelta(days=4_000)])
def test_no_date_makes_a_payment_older_than_its_order_or_later_than_now(
    world: World, paid_at: Any
) -> None:
    ask(world, payment=in_app())
    pay_in_app(world, confirmation(), paid_at=paid_at)
    hint(world)
    ask_gateway(world)
    assert last(world, PaymentCaptured).captured_at == NOW


@pytest.mark.parametrize(
    "reference", ["order/ren-2", "topup/ren-1", "ren-1", "order/ren-1 ", "ORDER/REN-1", ""]
)
def test_a_payment_made_under_another_reference_is_not_ours(world: World, reference: str) -> None:
    ask(world, payment=in_app())
    pay_in_app(world, confirmation(), reference=reference)
    hint(world)
    world.run_until(NOW)
    assert refusals(world) == [ConfirmationRefusal.ANOTHER_REFERENCE]
    assert captures(world) == 0


def test_a_payment_that_was_cancelled_is_refused(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world, gateway_txn_id="txn-cancelled")
    assert refusals(world) == [ConfirmationRefusal.NOT_CAPTURED]
    assert captures(world) == 0


def test_a_payment_of_nothing_is_none_and_the_order_waits_for_a_true_one(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world, gateway_txn_id="txn-0", amount=usd(0))
    assert refusals(world) == [ConfirmationRefusal.NOT_CAPTURED]
    assert world.claims.owners == {}
    confirm(world)
    world.run_until(LATER)
    assert outcomes(world)[-2:] == ["PaymentCaptured", "PlanActivated"]


def test_a_foreign_transaction_for_a_paid_order_refunds_nothing(world: World) -> None:
    """The theft: another's payment, named for an order that is paid, was given back as surplus."""
    ask(world)
    world.run_until(NOW)
    pay_in_app(world, confirmation(gateway_txn_id="victim"), reference="order/of-a-victim")
    hint(world, gateway_txn_id="victim", amount=usd(5_000_000))
    hint(world, gateway_txn_id="nobodys", amount=usd(5_000_000))
    world.run_until(LATER)
    assert outcomes(world)[:3] == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    assert sorted(refusals(world)) == ["another_reference", "unknown_transaction"]
    assert refunds(world) == []


def test_our_own_charge_for_another_order_is_not_taken_for_a_payment(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    charged = last(world, PaymentCaptured)
    other = renewal(renewal_id="ren-2", payment=in_app())
    world.tell("order/ren-2", lambda now: AcceptRenewal(other, now))
    for renewal_id in ("ren-1", "ren-2"):
        hint(
            world,
            renewal_id=renewal_id,
            gateway=charged.gateway,
            gateway_txn_id=charged.gateway_txn_id,
        )
    world.run_until(NOW)
    assert refusals(world) == [ConfirmationRefusal.ANOTHER_REFERENCE]
    assert captures(world) == 1


def test_a_transaction_serves_the_order_that_claimed_it(world: World) -> None:
    ask(world, payment=in_app())
    world.claims.owners["app-gateway", "txn-1"] = "order/ren-2"
    confirm(world)
    assert refusals(world) == [ConfirmationRefusal.ALREADY_USED]
    assert captures(world) == 0


@pytest.mark.parametrize("ending", ["down", "pending", "late"])
def test_the_order_waits_for_the_gateway_and_does_not_expire_meanwhile(
    world: World, ending: str
) -> None:
    ask(world, payment=in_app())
    world.now = NOW + POLICY.confirmation_window - timedelta(seconds=1)
    pay_in_app(world, confirmation(gateway_txn_id=f"txn-{ending}-3"))
    hint(world, gateway_txn_id=f"txn-{ending}-3")
    world.run_until(LATER)
    assert outcomes(world) == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    assert world.effects == {}


def test_a_crash_between_claim_and_record_captures_once(world: World) -> None:
    ask(world, payment=in_app())
    pay_in_app(world, confirmation())
    hint(world)
    (look_up,) = [key for key, each in world.effects.items() if each.kind == "confirm"]
    world.execute(look_up, crash=True)
    assert world.claims.owners == {("app-gateway", "txn-1"): ORDER}
    world.run_until(LATER)
    assert outcomes(world) == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]


def test_a_refused_confirmation_may_come_again(world: World) -> None:
    ask(world, payment=in_app())
    hint(world)
    world.run_until(NOW + timedelta(minutes=11))
    assert refusals(world) == [ConfirmationRefusal.UNKNOWN_TRANSACTION]
    confirm(world)
    assert captures(world) == 1


def test_the_same_hint_asks_once_and_too_many_are_kept_aside(world: World) -> None:
    ask(world, payment=in_app())
    hint(world)
    assert hint(world) == Ignored(IgnoredReason.CONFIRMATION_UNDER_WAY)
    for number in range(CONFIRMATIONS_MAX - 1):
        hint(world, gateway_txn_id=f"txn-x{number}")
    with pytest.raises(Poison) as caught:
        hint(world, gateway_txn_id="txn-one-more")
    assert caught.value.reason == "confirmations_too_many"


def test_a_person_settles_a_question_that_the_gateway_does_not_answer(world: World) -> None:
    ask(world, payment=in_app())
    hint(world, gateway_txn_id="txn-down-99")
    ask_gateway(world)
    (look_up,) = [key for key, each in world.effects.items() if each.kind == "confirm"]
    with pytest.raises(SettlementRefused, match="the gateway alone says"):
        world.settle(look_up, Settlement(outcome="captured", by="maria", reason="no"))
    world.settle(look_up, SETTLED)
    refused = last(world, PaymentConfirmationRefused)
    assert (refused.reason, refused.settled_by) == (ConfirmationRefusal.SETTLED, "maria")
    world.run_until(LATER)
    assert outcomes(world)[-1] == "OrderExpired"


# -- gateways that cannot be asked -----------------------------------------------------------------


def test_a_gateway_that_cannot_be_asked_is_not_believed(world: World) -> None:
    ask(world, payment=in_app())
    hint(world, **SILENT)
    world.run_until(NOW)
    assert (refusals(world), world.claims.owners) == ([ConfirmationRefusal.NOT_CHECKABLE], {})


def test_a_trusted_gateway_is_believed_for_the_exact_amount(trusting: World) -> None:
    ask(trusting, payment=in_app())
    hint(trusting, **SILENT, fee=usd(35))
    trusting.run_until(NOW)
    captured = last(trusting, PaymentCaptured)
    assert outcomes(trusting) == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    assert (captured.unverified, captured.fee) == (True, usd(35))


@pytest.mark.parametrize("stream_id", [ORDER, TOP_UP])
@pytest.mark.parametrize("difference", [-1, 1, 5_000_000])
def test_any_other_amount_of_a_trusted_gateway_is_for_a_person(
    trusting: World, stream_id: str, difference: int
) -> None:
    if stream_id == ORDER:
        ask(trusting, payment=in_app())
        said: dict[str, Any] = {"amount": usd(2120 + difference)}
    else:
        ask_top_up(trusting, payment=in_app())
        said = {"renewal_id": None, "topup_id": "top-1", "amount": usd(5000 + difference)}
    hint(trusting, **SILENT, **said)
    trusting.run_until(LATER)
    assert refusals(trusting) == [ConfirmationRefusal.AMOUNT_DIFFERS]
    assert captures(trusting) == 0
    assert trusting.claims.owners == {}
    assert outcomes(trusting)[-1] == "OrderExpired"
    assert hint(trusting, **SILENT, **said) == Ignored(IgnoredReason.CONFIRMATION_UNDER_WAY)
    (kept,) = trusting.effects
    trusting.settle(kept, SETTLED)
    assert last(trusting, PaymentConfirmationRefused).settled_by == "maria"
    assert trusting.effects == {}


def test_surplus_and_late_money_of_a_trusted_gateway_goes_nowhere_by_itself(
    trusting: World,
) -> None:
    ask(trusting, payment=in_app())
    hint(trusting, **SILENT)
    trusting.run_until(NOW)
    hint(trusting, gateway="silent-bank", gateway_txn_id="slip-8")
    trusting.run_until(LATER)
    assert refusals(trusting) == [ConfirmationRefusal.ORDER_NOT_WAITING]
    assert captures(trusting) == 1
    assert refunds(trusting) == []
    (kept,) = trusting.unfinished()
    assert (kept.effect_id, kept.hold_key) == (*trusting.effects, *trusting.effects)


def test_money_of_a_trusted_gateway_is_given_back_by_a_person_alone(trusting: World) -> None:
    ask(trusting, payment=in_app(), iccid=ICCID[:-4] + "9001")
    hint(trusting, **SILENT)
    trusting.run_until(LATER)
    assert outcomes(trusting)[-1] == "ActivationFailed"
    assert refunds(trusting) == []
    (kept,) = trusting.unfinished()
    assert kept.hold_key is not None
    assert list(trusting.effects) == [kept.effect_id]
    done = Settlement(
        outcome="refunded", by="maria", reason="bank", gateway="silent-bank", reference="back-1"
    )
    trusting.settle(kept.effect_id, done)
    assert last(trusting, RefundCompleted).gateway_refund_ref == "back-1"


def test_one_slip_of_a_trusted_gateway_pays_one_order(trusting: World) -> None:
    other = renewal(renewal_id="ren-2", payment=in_app())
    ask(trusting, payment=in_app())
    trusting.tell("order/ren-2", lambda now: AcceptRenewal(other, now))
    hint(trusting, **SILENT)
    hint(trusting, **SILENT, renewal_id="ren-2")
    trusting.run_until(NOW)
    assert refusals(trusting) == [ConfirmationRefusal.ALREADY_USED]
    assert captures(trusting) == 1


def test_a_trusted_gateway_that_charges_all_the_same_stops_orders(tmp_path: Path) -> None:
    foolish = replace(POLICY, trusted_gateways=frozenset({"sandbox"}))
    world = World(tmp_path, replace(RULES, policy=foolish))
    ask(world)
    (charge,) = [key for key, each in world.effects.items() if each.kind == "charge"]
    for _ in range(2):
        with pytest.raises(Halt, match="charges as sandbox, which is in TRUST_CONFIRMATIONS_OF"):
            world.execute(charge)
        world.effects[charge] = replace(world.effects[charge], recovered=True)
    assert captures(world) == 0
    wiser = World(tmp_path)
    wiser.states, wiser.effects = world.states, world.effects
    wiser.run_until(NOW)
    assert (captures(wiser), charges(wiser)) == (1, 1)
    world.close()
    wiser.close()


def test_what_the_log_says_is_asked_again_after_a_restore(world: World) -> None:
    ask(world, payment=in_app())
    hint(world)
    ask_gateway(world)
    asked = [each.effect_id for each in world.unfinished()]
    assert sorted(asked) == sorted(key for key in world.effects if not key.startswith("activate/"))

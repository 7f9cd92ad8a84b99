"""A charge that the customer has to agree to: a link until a moment, money once, and no loose ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.confirmations import PaymentActionRequired
from schemas.orders import (
    DeclineReason,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeResolved,
    UnknownCause,
)
from services.orders.order.rules import IgnoredReason
from services.orders.payments.commands import RecordAction
from services.orders.payments.gateways.gateway import (
    ActionRequired,
    Captured,
    ChargeLookUp,
    ChargeReference,
    Declined,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from services.orders.ports import Ports
from services.runtime.processor import Decision, Ignored
from tests.unit.orders.builders import NOW, POLICY, RULES, by_token, confirmation, renewal, usd
from tests.unit.orders.forgetful import Forgetful, Said
from tests.unit.orders.steps import (
    CHARGE_ID,
    ORDER,
    ask,
    ask_top_up,
    charges,
    hint,
    last,
    pay_in_app,
)
from tests.unit.orders.world import World

PAY_BY: Final = NOW + POLICY.confirmation_window
CHARGE: Final = f"charge/{CHARGE_ID}"
NEVER: Final = {"payment": by_token("tok_action")}
ASKED: Final = ActionRequired(
    gateway="bank", gateway_txn_id="txn-9", pay_link="https://bank.example/agree/9"
)
CAPTURED: Final = Captured(
    gateway="bank", gateway_txn_id="txn-9", amount=usd(2120), captured_at=NOW
)


def agreed_at(look_up: int) -> dict[str, Any]:
    return {"payment": by_token(f"tok_action_{look_up}")}


def test_customer_is_shown_where_to_agree_and_nothing_is_charged(world: World) -> None:
    ask(world, **NEVER)
    world.run_until(NOW)
    required = last(world, PaymentActionRequired)
    assert required.pay_link.startswith("https://")
    assert (required.pay_by, required.amount, required.gateway) == (PAY_BY, usd(2120), "sandbox")
    assert charges(world) == 0


@pytest.mark.parametrize("look_up", [1, 3])
def test_customer_who_agrees_is_charged_once_and_gets_the_plan(world: World, look_up: int) -> None:
    ask(world, **agreed_at(look_up))
    world.run_until(PAY_BY)
    assert world.names() == [
        *("RenewalAccepted", "PaymentActionRequired", "PaymentCaptured", "PlanActivated")
    ]
    captured = last(world, PaymentCaptured)
    required = last(world, PaymentActionRequired)
    assert captured.payment_id == required.payment_id == CHARGE_ID
    assert captured.gateway_txn_id == required.gateway_txn_id
    assert charges(world) == 1
    assert world.effects == {}


def test_top_up_is_credited_when_the_customer_agreed(world: World) -> None:
    ask_top_up(world, **agreed_at(2))
    world.run_until(PAY_BY)
    assert world.names()[1:3] == ["PaymentActionRequired", "PaymentCaptured"]
    assert world.names().count("WalletToppedUp") == 1


def test_order_ends_when_nobody_agreed_and_the_charge_is_cancelled_first(world: World) -> None:
    ask(world, **NEVER)
    world.run_until(PAY_BY - timedelta(microseconds=1))
    assert world.names()[-1] == "PaymentActionRequired"
    world.run_until(PAY_BY)
    assert last(world, OrderExpired).expired_at == PAY_BY
    assert world.effects == {}
    asked = world.ports.gateway.journal
    with asked.locked():
        assert asked.count("decline", CHARGE_ID) == 1


def test_look_is_had_at_once_when_somebody_says_that_the_customer_agreed(world: World) -> None:
    ask(world, **agreed_at(1))
    world.run_until(NOW)
    required = last(world, PaymentActionRequired)
    said = {"gateway": required.gateway, "gateway_txn_id": required.gateway_txn_id}
    decision = hint(world, **said)
    assert isinstance(decision, Decision)
    assert decision.events == ()
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"
    again = hint(world, **said)
    assert again == Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)


def test_false_word_that_the_customer_agreed_moves_nothing(world: World) -> None:
    ask(world, **NEVER)
    world.run_until(NOW)
    required = last(world, PaymentActionRequired)
    for _ in range(3):
        hint(world, gateway=required.gateway, gateway_txn_id=required.gateway_txn_id)
        world.run_until(NOW)
    assert world.names()[-1] == "PaymentActionRequired"


def test_payment_by_another_way_meanwhile_is_given_back(world: World) -> None:
    ask(world, **agreed_at(2))
    world.run_until(NOW)
    pay_in_app(world, confirmation())
    hint(world)
    world.run_until(PAY_BY)
    assert last(world, PaymentCaptured).payment_id == CHARGE_ID
    assert world.names().count("SurplusCaptured") == world.names().count("RefundInstructed") == 1


# -- with a gateway that says what it is told ---------------------------------------------------------


@pytest.fixture
def outside() -> Forgetful:
    return Forgetful({"charge": [Said(ASKED)]})


@pytest.fixture
def other(tmp_path: Path, outside: Forgetful) -> Iterator[World]:
    world = World(tmp_path, RULES, Ports(outside, outside))
    ask(world)
    world.run_until(NOW)
    assert world.names()[-1] == "PaymentActionRequired"
    yield world
    world.close()


def told(world: World, outcome: ChargeLookUp, minutes: int = 1) -> Decision | Ignored:
    world.now = NOW + timedelta(minutes=minutes)
    return world.tell(ORDER, lambda now: RecordAction(outcome, 1, now), effect=CHARGE)


def test_customer_who_refuses_is_told_why_the_payment_failed(other: World) -> None:
    told(other, Declined(reason=DeclineReason.CANCELLED_BY_CUSTOMER))
    failed = last(other, PaymentFailed)
    assert (failed.reason, failed.retryable) == (DeclineReason.CANCELLED_BY_CUSTOMER, True)
    assert CHARGE not in other.effects


@pytest.mark.parametrize("outcome", [ASKED, NotFound(), Unavailable()])
@pytest.mark.parametrize("minutes", [1, 120])
def test_what_is_not_over_is_looked_at_again_even_after_its_time(
    other: World, outcome: ChargeLookUp, minutes: int
) -> None:
    told(other, outcome, minutes)
    over = isinstance(outcome, NotFound) and minutes > 60
    assert (CHARGE in other.effects) != over
    assert (other.names()[-1] == "OrderExpired") == over


def test_last_look_is_at_the_moment_when_the_time_is_up(other: World) -> None:
    told(other, ASKED, 59)
    assert other.effects[CHARGE].due_at == NOW + timedelta(minutes=59, seconds=10)
    other.now = PAY_BY - timedelta(seconds=3)
    other.tell(ORDER, lambda now: RecordAction(ASKED, 1, now), effect=CHARGE)
    assert other.effects[CHARGE].due_at == PAY_BY


def test_charge_that_was_agreed_to_at_the_last_moment_counts(
    other: World, outside: Forgetful
) -> None:
    outside.answers = {
        "look_up_charge": [Said(ASKED)] * 99,
        "cancel_charge": [Said(Unavailable()), Said(CAPTURED)],
    }
    other.run_until(PAY_BY + timedelta(hours=1))
    assert other.names()[2:] == ["PaymentCaptured", "PlanActivated"]
    reference = ChargeReference(payment_id=CHARGE_ID, gateway="sandbox", gateway_txn_id="txn-9")
    assert outside.asked.count(("cancel_charge", reference)) == 2


def test_money_that_comes_in_after_the_end_goes_back(other: World) -> None:
    told(other, Declined(reason=DeclineReason.EXPIRED), 60)
    assert other.names()[-1] == "OrderExpired"
    decision = other.tell(ORDER, lambda now: RecordAction(CAPTURED, 1, now))
    assert isinstance(decision, Decision)
    assert [type(each).__name__ for each in decision.events] == ["SurplusCaptured"]


def test_charge_without_an_answer_may_turn_out_to_wait_for_the_customer(
    tmp_path: Path, outside: Forgetful
) -> None:
    lost = OutcomeUnknown(cause=UnknownCause.TIMEOUT)
    outside.answers = {"charge": [Said(lost)], "look_up_charge": [Said(ASKED), Said(CAPTURED)]}
    world = World(tmp_path, RULES, Ports(outside, outside))
    ask(world)
    world.run_until(PAY_BY)
    assert world.names() == [
        *("RenewalAccepted", "PaymentOutcomeUnknown", "PaymentOutcomeResolved"),
        *("PaymentActionRequired", "PaymentCaptured", "PlanActivated"),
    ]
    assert last(world, PaymentOutcomeResolved).outcome == "action_required"
    world.close()


@pytest.mark.parametrize("outcome", [ASKED, Declined(reason=DeclineReason.EXPIRED), NotFound()])
def test_answer_that_nobody_waits_for_is_passed_over(other: World, outcome: ChargeLookUp) -> None:
    told(other, CAPTURED)
    ignored = other.tell(ORDER, lambda now: RecordAction(outcome, 1, now))
    assert ignored == Ignored(IgnoredReason.PAYMENT_NOT_AWAITED)


def test_lost_log_looks_at_the_customers_agreement_at_once(other: World) -> None:
    (activation, charge) = sorted(other.unfinished(renewal()), key=lambda each: each.kind)
    assert activation.kind == "activate"
    assert (charge.effect_id, charge.due_at) == (CHARGE, NOW)
    assert charge.payload == other.effects[CHARGE].payload
    assert "token" not in charge.payload

"""How payments end: charged, declined, confirmed, unknown, looked up, late or twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas import TERMINAL_EVENTS
from schemas.money import Money
from schemas.orders import (
    ActivationFailed,
    ActivationFailureReason,
    DeclineReason,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeResolved,
    PlanActivated,
    RefundCompleted,
    RenewalAccepted,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusReason, SurplusReturned
from services.orders.order.rules import IgnoredReason
from services.orders.payments.commands import RecordCharge
from services.orders.payments.gateways.gateway import Captured
from services.runtime.errors import Poison
from services.runtime.processor import Ignored
from tests.unit.orders.builders import (
    NOW,
    POLICY,
    by_token,
    confirmation,
    in_app,
    usd,
)
from tests.unit.orders.steps import (
    CHARGE_ID,
    ORDER,
    ask,
    charges,
    confirm,
    last,
    outcomes,
    pay_in_app,
    shop_gives_back,
)
from tests.unit.orders.world import World


def test_charged_renewal_is_captured_and_activated(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    assert world.names() == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    captured = last(world, PaymentCaptured)
    assert captured.payment_id == CHARGE_ID
    assert (captured.consideration.net, captured.consideration.tax) == (usd(2000), usd(120))
    assert captured.fee == usd(2120 * 29 // 1000)
    assert world.effects == {}


@pytest.mark.parametrize(
    ("token", "reason", "retryable"),
    [
        ("tok_insufficient_funds", DeclineReason.INSUFFICIENT_FUNDS, True),
        ("tok_bank_limit", DeclineReason.BANK_LIMIT, True),
        ("tok_network", DeclineReason.NETWORK_INTERRUPTION, True),
        ("tok_risk_declined", DeclineReason.RISK_DECLINED, False),
        ("tok_authentication_required", DeclineReason.AUTHENTICATION_REQUIRED, True),
        ("tok_expired", DeclineReason.EXPIRED, False),
        ("tok_cancelled", DeclineReason.CANCELLED_BY_CUSTOMER, True),
        ("tok_unknown", DeclineReason.UNKNOWN, False),
    ],
)
def test_declined_payment_fails_with_its_reason_and_forgets_the_activation(
    world: World, token: str, reason: DeclineReason, *, retryable: bool
) -> None:
    ask(world, payment=by_token(token))
    world.run_until(NOW)
    assert world.names() == ["RenewalAccepted", "PaymentFailed"]
    failed = last(world, PaymentFailed)
    assert (failed.reason, failed.retryable) == (reason, retryable)
    assert failed.plan_title == last(world, RenewalAccepted).plan_title
    assert world.effects == {}


@pytest.mark.parametrize(
    ("token", "outcome", "after"),
    [
        ("tok_timeout_after", "captured", ["PaymentCaptured", "PlanActivated"]),
        ("tok_error_after", "captured", ["PaymentCaptured", "PlanActivated"]),
        ("tok_timeout_declined", "declined", ["PaymentFailed"]),
        ("tok_timeout_before", "not_charged", ["PaymentFailed"]),
    ],
)
def test_unknown_outcome_is_resolved_by_look_up(
    world: World, token: str, outcome: str, after: list[str]
) -> None:
    ask(world, payment=by_token(token))
    world.run_until(NOW + timedelta(hours=1))
    assert world.names()[:3] == [
        "RenewalAccepted", "PaymentOutcomeUnknown", "PaymentOutcomeResolved",
    ]  # fmt: skip
    assert world.names()[3:] == after
    assert last(world, PaymentOutcomeResolved).outcome == outcome
    assert charges(world) == (outcome == "captured")
    assert world.effects == {}


def test_unknown_outcome_keeps_no_token(world: World) -> None:
    ask(world, payment=by_token("tok_timeout_after"))
    world.execute(f"charge/{CHARGE_ID}")
    assert "token" not in world.effects[f"charge/{CHARGE_ID}"].payload


def test_charge_is_written_off_only_after_the_gateway_had_time(world: World) -> None:
    ask(world, payment=by_token("tok_timeout_before"))
    world.run_until(NOW + POLICY.unknown_settle - timedelta(microseconds=1))
    assert world.names() == ["RenewalAccepted", "PaymentOutcomeUnknown"]
    world.run_until(NOW + POLICY.unknown_settle)
    failed = last(world, PaymentFailed)
    assert (failed.reason, failed.retryable) == (DeclineReason.NETWORK_INTERRUPTION, True)


def test_one_not_found_is_not_enough_however_late(world: World) -> None:
    ask(world, payment=by_token("tok_timeout_before"))
    effect_id = f"charge/{CHARGE_ID}"
    world.execute(effect_id)
    world.now = NOW + timedelta(days=1)
    world.execute(effect_id)
    assert world.names()[-1] == "PaymentOutcomeUnknown"
    world.execute(effect_id)
    assert world.names()[-2:] == ["PaymentOutcomeResolved", "PaymentFailed"]


def test_gateway_that_is_down_for_a_while_charges_once(world: World) -> None:
    ask(world, payment=by_token("tok_down_3"))
    world.run_until(NOW + timedelta(minutes=10))
    assert world.names() == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    assert charges(world) == 1


def test_gateway_that_stays_down_fails_the_payment(world: World) -> None:
    ask(world, payment=by_token("tok_down_99"))
    world.run_until(NOW + timedelta(hours=1))
    assert world.names() == ["RenewalAccepted", "PaymentFailed"]
    assert last(world, PaymentFailed).failed_at >= NOW + POLICY.charge_window


@pytest.mark.parametrize("token", ["tok_ok", "tok_timeout_after", "tok_duplicate", "tok_slow"])
def test_charge_that_crashed_before_its_result_was_kept_is_not_made_again(
    world: World, token: str
) -> None:
    ask(world, payment=by_token(token))
    world.execute(f"charge/{CHARGE_ID}", crash=True)
    world.run_until(NOW + timedelta(minutes=1))
    assert world.names() == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
    assert charges(world) == 1


def test_crash_before_the_charge_then_a_gateway_down_is_an_unknown_outcome(world: World) -> None:
    ask(world, payment=by_token("tok_down_1"))
    effect_id = f"charge/{CHARGE_ID}"
    world.effects[effect_id] = replace(world.effects[effect_id], recovered=True)
    world.execute(effect_id)
    assert world.names() == ["RenewalAccepted", "PaymentOutcomeUnknown"]


def test_confirmed_payment_activates_and_cancels_the_expiry(world: World) -> None:
    ask(world, payment=in_app())
    world.now = NOW + timedelta(minutes=5)
    confirm(world)
    world.run_until(NOW + timedelta(hours=2))
    assert outcomes(world) == ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]


def test_unconfirmed_order_expires(world: World) -> None:
    ask(world, payment=in_app())
    world.run_until(NOW + POLICY.confirmation_window - timedelta(microseconds=1))
    assert world.names() == ["RenewalAccepted"]
    world.run_until(NOW + POLICY.confirmation_window)
    assert world.names() == ["RenewalAccepted", "OrderExpired"]
    assert world.effects == {}


def test_late_confirmation_is_captured_and_refunded(world: World) -> None:
    ask(world, payment=in_app())
    world.run_until(NOW + POLICY.confirmation_window)
    confirm(world)
    world.run_until(world.now)
    shop_gives_back(world)
    assert outcomes(world)[2:] == ["SurplusCaptured", "RefundInstructed", "SurplusReturned"]
    for each in (last(world, SurplusCaptured), last(world, SurplusReturned)):
        assert (each.reason, each.amount) == (SurplusReason.ORDER_EXPIRED, usd(2120))


@pytest.mark.parametrize("amount", [usd(2119), usd(9999), Money(amount_minor=2120, currency="EUR")])
def test_wrong_amount_is_captured_and_refunded_in_full(world: World, amount: Money) -> None:
    ask(world, payment=in_app())
    confirm(world, amount=amount)
    world.run_until(NOW + timedelta(hours=3))
    shop_gives_back(world)
    assert outcomes(world)[1:] == [
        "PaymentCaptured",
        "ActivationFailed",
        "RefundInstructed",
        "RefundCompleted",
    ]
    assert last(world, ActivationFailed).reason is ActivationFailureReason.AMOUNT_MISMATCH
    assert last(world, RefundCompleted).amount == amount
    assert world.effects == {}


def test_same_confirmation_again_changes_nothing(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world)
    assert confirm(world) == Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)


def test_second_payment_is_refunded_and_the_plan_stays_active(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world)
    world.run_until(NOW)
    confirm(world, gateway_txn_id="txn-2")
    world.run_until(NOW)
    shop_gives_back(world)
    assert outcomes(world)[3:] == ["SurplusCaptured", "RefundInstructed", "SurplusReturned"]
    second = last(world, SurplusCaptured)
    assert (second.reason, second.payment_id == CHARGE_ID) == (SurplusReason.PAID_TWICE, False)
    assert last(world, SurplusReturned).payment_id == second.payment_id
    assert world.names().count("PlanActivated") == 1


def test_second_payment_before_activation_does_not_stop_it(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world)
    confirm(world, gateway_txn_id="txn-2")
    world.run_until(NOW)
    shop_gives_back(world)
    assert world.names().count("PlanActivated") == 1
    assert world.names().count("SurplusReturned") == 1
    assert world.names().count("ActivationFailed") == 0


def test_payment_in_the_app_beside_a_charge_is_refunded(world: World) -> None:
    ask(world)
    confirm(world)
    world.run_until(NOW)
    assert world.names().count("PlanActivated") == 1
    shop_gives_back(world)
    returned = last(world, SurplusReturned)
    assert returned.payment_id != CHARGE_ID
    assert returned.reason is SurplusReason.PAID_ANOTHER_WAY
    assert {type(each) for each in world.events} & TERMINAL_EVENTS == {PlanActivated}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "acct-2"}, "account_mismatch"),
        ({"method": PaymentMethod.WALLET}, "confirmation_method"),
    ],
)
def test_confirmation_that_cannot_be_right_is_poison(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    ask(world, payment=in_app())
    with pytest.raises(Poison) as caught:
        confirm(world, **changes)
    assert caught.value.reason == reason
    assert "acct-1" not in str(caught.value)


def test_confirmation_of_an_unknown_order_is_poison(world: World) -> None:
    with pytest.raises(Poison, match="publish the request") as caught:
        confirm(world)
    assert caught.value.reason == "order_unknown"


def test_confirmation_of_a_refused_order_is_poison(world: World) -> None:
    ask(world, plan_code="no-such-plan")
    with pytest.raises(Poison) as caught:
        confirm(world)
    assert caught.value.reason == "order_refused"


def test_capture_after_the_payment_was_written_off_is_refunded(world: World) -> None:
    ask(world, payment=by_token("tok_bank_limit"))
    world.run_until(NOW)
    late = Captured(
        gateway="sandbox", gateway_txn_id="late", amount=usd(2120), fee=None, captured_at=NOW
    )
    held = confirmation(gateway="sandbox", gateway_txn_id="late")
    pay_in_app(world, held, reference=CHARGE_ID)
    world.tell(ORDER, lambda now: RecordCharge(late, 1, now))
    world.run_until(NOW)
    assert world.names()[-2:] == ["SurplusCaptured", "SurplusReturned"]
    assert last(world, SurplusReturned).reason is SurplusReason.PAYMENT_FAILED


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ({"amount_minor": 15, "currency": "USD"}, usd(15)),
        ({"amount_minor": 99_999, "currency": "USD"}, usd(99_999)),
        ({"amount_minor": -15, "currency": "USD"}, None),
        ({"amount_minor": 15, "currency": "XXX"}, None),
        ({"amount_minor": 10**20, "currency": "USD"}, None),
        ("15", None),
        (None, None),
    ],
)
def test_unreadable_fee_in_the_gateways_answer_does_not_hide_the_money(
    stated: object, read: Money | None
) -> None:
    answer = {
        "gateway": "sandbox",
        "gateway_txn_id": "txn-1",
        "amount": {"amount_minor": 2120, "currency": "CNY"},
        "captured_at": "2026-11-20T08:00:00Z",
        "fee": stated,
    }
    captured = Captured.model_validate_json(json.dumps(answer))
    assert captured.amount == Money(amount_minor=2120, currency="CNY")
    assert captured.fee == read

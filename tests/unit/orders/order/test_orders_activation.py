"""The activation of a paid plan: retries, the promise, the deadline and the refund."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.orders import (
    ActivationDelayed,
    ActivationFailed,
    ActivationFailureReason,
    PaymentCaptured,
    PlanActivated,
    RefundCompleted,
)
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason
from services.orders.payments.commands import RecordRefund
from services.orders.payments.gateways.gateway import Refunded
from services.orders.payments.gateways.gateway import Unavailable as GatewayUnavailable
from services.orders.renewals.commands import AcceptRenewal, RecordActivation
from services.orders.renewals.providers.provider import Unavailable
from services.runtime.processor import Ignored
from tests.unit.orders.builders import ICCID, NOW, POLICY, by_token, renewal, usd
from tests.unit.orders.world import World

ORDER = "order/ren-1"
REFERENCE = identities.activation_id("acct-1", ORDER)
ACTIVATE = f"activate/{REFERENCE}"


def pay(world: World, ending: str, **changes: Any) -> None:
    iccid = ICCID[:-4] + ending
    world.tell(ORDER, lambda now: AcceptRenewal(renewal(iccid=iccid, **changes), now))
    world.execute(next(key for key in world.effects if key.startswith("charge/")))
    assert world.names() == ["RenewalAccepted", "PaymentCaptured"]


def activations(world: World) -> int:
    journal = world.ports.provider.journal
    with journal.locked():
        return int(journal.count("activation", REFERENCE))


def last(world: World, kind: type[Any]) -> Any:
    return [event for event in world.events if isinstance(event, kind)][-1]


def test_activated_plan_carries_the_data_of_its_receipt(world: World) -> None:
    pay(world, "0001", quantity=2)
    world.run_until(NOW)
    active = last(world, PlanActivated)
    assert (active.price, active.tax, active.total) == (usd(4000), usd(240), usd(4240))
    assert active.valid_until - active.valid_from == timedelta(days=60)
    assert active.allowance.data_mib == 10 * 1024
    assert active.plan_title["zh-Hans"]
    assert world.effects == {}


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("9001", ActivationFailureReason.ESIM_NOT_FOUND),
        ("9002", ActivationFailureReason.ESIM_NOT_ELIGIBLE),
    ],
)
def test_refused_activation_is_refunded(
    world: World, ending: str, reason: ActivationFailureReason
) -> None:
    pay(world, ending)
    world.run_until(NOW)
    assert world.names()[2:] == ["ActivationFailed", "RefundCompleted"]
    assert last(world, ActivationFailed).reason is reason
    assert last(world, RefundCompleted).refund.tax == usd(120)
    assert world.effects == {}


@pytest.mark.parametrize("ending", ["9003", "9004", "9005", "9006", "9103", "9230"])
def test_troubled_activation_happens_once_and_in_time(world: World, ending: str) -> None:
    pay(world, ending)
    world.run_until(NOW + timedelta(minutes=5))
    assert world.names()[2:] == ["PlanActivated"]
    assert activations(world) == 1


def test_activation_that_crashed_before_its_result_was_kept_is_not_made_again(
    world: World,
) -> None:
    pay(world, "0001")
    world.execute(ACTIVATE, crash=True)
    world.run_until(NOW)
    assert world.names()[2:] == ["PlanActivated"]
    assert activations(world) == 1


def test_customer_is_told_of_the_delay_exactly_at_the_promise(world: World) -> None:
    pay(world, "9007")
    promise = NOW + POLICY.activation_promise
    world.run_until(promise - timedelta(microseconds=1))
    assert "ActivationDelayed" not in world.names()
    world.run_until(promise)
    delayed = last(world, ActivationDelayed)
    assert (delayed.promised_by, delayed.delayed_at) == (promise, promise)
    world.run_until(NOW + POLICY.activation_deadline - timedelta(seconds=1))
    assert world.names().count("ActivationDelayed") == 1


def test_delayed_plan_is_activated_when_the_provider_comes_back(world: World) -> None:
    pay(world, "9007")
    world.run_until(NOW + POLICY.activation_promise)
    waiting = world.effects[ACTIVATE]
    waiting.payload["iccid"] = ICCID
    world.run_until(NOW + POLICY.activation_promise + timedelta(minutes=10))
    assert world.names()[2:] == ["ActivationDelayed", "PlanActivated"]


def test_plan_not_activated_by_the_deadline_is_refunded_after_a_last_look_up(world: World) -> None:
    pay(world, "9007")
    deadline = NOW + POLICY.activation_deadline
    world.run_until(deadline - timedelta(microseconds=1))
    assert "ActivationFailed" not in world.names()
    assert world.effects[ACTIVATE].payload == {"reference": REFERENCE}
    assert world.effects[ACTIVATE].due_at == deadline
    world.run_until(deadline)
    assert world.names()[2:] == ["ActivationDelayed", "ActivationFailed", "RefundCompleted"]
    assert last(world, ActivationFailed).reason is ActivationFailureReason.DEADLINE_PASSED


def test_last_look_up_that_finds_the_plan_activates_it(world: World) -> None:
    pay(world, "0001")
    world.execute(ACTIVATE, crash=True)
    world.now = NOW + POLICY.activation_deadline
    unavailable = RecordActivation(Unavailable(), attempt=9, last=False, now=world.now)
    world.tell(ORDER, lambda _now: unavailable, effect=ACTIVATE)
    assert world.effects[ACTIVATE].payload == {"reference": REFERENCE}
    world.run_until(world.now)
    assert world.names()[2:] == ["ActivationDelayed", "PlanActivated"]
    assert activations(world) == 1


def test_provider_down_past_the_deadline_from_the_start_gets_one_last_look_up(
    world: World,
) -> None:
    pay(world, "9007")
    world.now = NOW + POLICY.activation_deadline + timedelta(hours=5)
    world.run_until(world.now)
    assert world.names()[2:] == ["ActivationDelayed", "ActivationFailed", "RefundCompleted"]


@pytest.mark.parametrize("token", ["tok_refund_down", "tok_refund_lost"])
def test_refund_is_made_once_however_the_gateway_behaves(world: World, token: str) -> None:
    pay(world, "9001", payment=by_token(token))
    world.run_until(NOW + timedelta(hours=1))
    assert world.names()[2:] == ["ActivationFailed", "RefundCompleted"]
    journal = world.ports.gateway.journal
    with journal.locked():
        assert journal.count("refund", last(world, RefundCompleted).refund_id) == 1


def test_refund_names_the_gateway_that_took_the_money_whatever_name_it_answers_by(
    world: World,
) -> None:
    pay(world, "9001")
    world.execute(ACTIVATE)
    refund = next(key for key in world.effects if key.startswith("refund/"))
    payment_id = world.effects[refund].payload["payment_id"]
    back = Refunded(gateway="another-name", gateway_refund_ref="ref-9", refunded_at=NOW)
    world.tell(ORDER, lambda now: RecordRefund(payment_id, back, 1, now), effect=refund)
    completed = last(world, RefundCompleted)
    assert completed.gateway == last(world, PaymentCaptured).gateway == "sandbox"
    assert completed.gateway_refund_ref == "ref-9"


def test_refund_is_never_given_up(world: World) -> None:
    pay(world, "9001")
    world.execute(ACTIVATE)
    refund = next(key for key in world.effects if key.startswith("refund/"))
    payment_id = world.effects[refund].payload["payment_id"]
    for attempt in (1, 10, 1000):
        world.tell(
            ORDER,
            lambda now, n=attempt: RecordRefund(payment_id, GatewayUnavailable(), n, now),  # type: ignore[misc]
            effect=refund,
        )
        due_at = world.effects[refund].due_at
        assert due_at is not None
        assert world.now < due_at <= world.now + POLICY.refund_backoff.longest


def test_late_answers_change_nothing(world: World) -> None:
    pay(world, "0001")
    world.run_until(NOW)
    late = world.tell(ORDER, lambda now: RecordActivation(Unavailable(), 2, last=False, now=now))
    assert late == Ignored(IgnoredReason.ACTIVATION_NOT_AWAITED)
    refund = world.tell(ORDER, lambda now: RecordRefund("p-1", GatewayUnavailable(), 1, now))
    assert refund == Ignored(IgnoredReason.REFUND_NOT_OWED)

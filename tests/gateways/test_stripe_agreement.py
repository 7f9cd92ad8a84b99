"""A card that needs the customer: Stripe's page becomes a pay link, and is closed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from schemas.confirmations import PaymentActionRequired
from schemas.orders import DeclineReason, PaymentCaptured, PaymentFailed
from schemas.requests import PaymentMethod
from services.orders.order.routing import Routing
from services.orders.payments.gateways.gateway import (
    ActionRequired,
    Captured,
    Charge,
    ChargeReference,
    Declined,
    Unavailable,
)
from tests.gateways.stripe_proxy import ASKING, Trouble
from tests.gateways.stripe_world import Stripe, StripeOrders, orders_with_stripe, stripe_of
from tests.unit.orders.builders import NOW, POLICY, by_token, usd
from tests.unit.orders.steps import ask, hint, last
from tests.unit.orders.world import run

PAY_BY: Final = NOW + POLICY.confirmation_window


@pytest.fixture
def orders(tmp_path: Path, localstripe_url: str) -> Iterator[StripeOrders]:
    with orders_with_stripe(tmp_path, localstripe_url, Routing.to("stripe")) as running:
        yield running


def charge(orders: StripeOrders) -> Charge:
    return Charge(
        payment_id="p-1",
        token=orders.token(ASKING),
        method=PaymentMethod.CARD,
        amount=usd(2120),
    )


def reference(asked: ActionRequired) -> ChargeReference:
    return ChargeReference(payment_id="p-1", gateway_txn_id=asked.gateway_txn_id)


def begin(orders: StripeOrders) -> PaymentActionRequired:
    ask(orders.world, payment=by_token(orders.token(ASKING)))
    orders.world.run_until(NOW)
    required: PaymentActionRequired = last(orders.world, PaymentActionRequired)
    return required


def test_customer_agrees_on_stripes_page_and_is_charged_once(orders: StripeOrders) -> None:
    stripe, wanted = stripe_of(orders), charge(orders)
    asked = run(stripe.charge(wanted))
    assert isinstance(asked, ActionRequired)
    assert asked.pay_link == f"https://hooks.stripe.example/{asked.gateway_txn_id}"
    assert run(stripe.charge(wanted)) == run(stripe.look_up_charge(reference(asked))) == asked
    assert orders.charged() == []
    orders.proxy.agree(asked.gateway_txn_id)
    assert isinstance(run(stripe.look_up_charge(reference(asked))), Captured)
    assert isinstance(run(stripe.cancel_charge(reference(asked))), Captured)
    assert orders.charged() == ["p-1"]


def test_customer_who_does_not_pass_the_check_is_declined(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    asked = run(stripe.charge(charge(orders)))
    orders.proxy.agree(asked.gateway_txn_id, success=False)
    declined = Declined(reason=DeclineReason.AUTHENTICATION_REQUIRED)
    assert run(stripe.look_up_charge(reference(asked))) == declined


def test_cancelled_charge_can_be_agreed_to_no_more(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    asked = run(stripe.charge(charge(orders)))
    for _ in range(2):
        assert isinstance(run(stripe.cancel_charge(reference(asked))), Declined)
    with pytest.raises(AssertionError, match="Bad request"):
        orders.proxy.agree(asked.gateway_txn_id)
    assert orders.charged() == []


def test_end_that_is_not_answered_is_asked_for_again(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    asked = run(stripe.charge(charge(orders)))
    orders.proxy.troubles.append(Trouble.CUT_AFTER)
    assert run(stripe.cancel_charge(reference(asked))) == Unavailable()
    assert isinstance(run(stripe.cancel_charge(reference(asked))), Declined)


def test_nobody_is_asked_where_the_customer_could_not_come_back_from(orders: StripeOrders) -> None:
    declined = Declined(reason=DeclineReason.AUTHENTICATION_REQUIRED)
    assert run(Stripe(orders.url).charge(charge(orders))) == declined


def test_order_that_is_agreed_to_is_paid_when_somebody_says_so(orders: StripeOrders) -> None:
    world, required = orders.world, begin(orders)
    orders.proxy.agree(required.gateway_txn_id)
    hint(world, gateway=required.gateway, gateway_txn_id=required.gateway_txn_id)
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"
    assert orders.charged() == [last(world, PaymentCaptured).payment_id]


def test_order_that_is_agreed_to_is_paid_when_nobody_says_so(orders: StripeOrders) -> None:
    world, required = orders.world, begin(orders)
    orders.proxy.agree(required.gateway_txn_id)
    world.run_until(PAY_BY)
    assert world.names()[-1] == "PlanActivated"
    assert len(orders.charged()) == 1


def test_order_that_nobody_agrees_to_ends_and_takes_no_money_later(orders: StripeOrders) -> None:
    world, required = orders.world, begin(orders)
    world.run_until(PAY_BY)
    assert world.names()[-1] == "OrderExpired"
    with pytest.raises(AssertionError, match="Bad request"):
        orders.proxy.agree(required.gateway_txn_id)
    assert orders.charged() == []


@pytest.mark.parametrize("trouble", [Trouble.CUT_AFTER, Trouble.ERROR_AFTER, Trouble.CUT_BEFORE])
@pytest.mark.parametrize("request_number", [1, 2])
def test_lost_answer_leaves_no_page_that_nobody_was_shown(
    orders: StripeOrders, trouble: Trouble, request_number: int
) -> None:
    """Either the customer is shown the page, or no money can come in by it."""
    world = orders.world
    ask(world, payment=by_token(orders.token(ASKING)))
    orders.proxy.troubles.extend([None] * (request_number - 1) + [trouble])
    world.run_until(PAY_BY)
    if "PaymentActionRequired" in world.names():
        assert world.names()[-1] in {"PaymentActionRequired", "OrderExpired"}
    else:
        assert last(world, PaymentFailed).reason in {
            DeclineReason.AUTHENTICATION_REQUIRED,
            DeclineReason.NETWORK_INTERRUPTION,
        }
    assert orders.charged() == []

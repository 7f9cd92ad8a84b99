"""Stripe charges an order once and gives it back once, whatever the network does and orders forget."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.orders import DeclineReason, PaymentCaptured, PaymentFailed, RefundCompleted
from schemas.requests import PaymentMethod
from services.orders.order.routing import Route, Routing
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeReference,
    Declined,
    NotFound,
    NotRefundable,
    NotSupported,
    OutcomeUnknown,
    Refund,
    Refunded,
    Unavailable,
)
from services.orders.renewals.commands import AcceptRenewal
from tests.gateways.stripe_proxy import DECLINED, Trouble
from tests.gateways.stripe_world import (
    Stripe,
    StripeOrders,
    orders_with_stripe,
    stripe_of,
)
from tests.unit.orders.builders import NOW, by_token, confirmation, in_app, renewal, usd
from tests.unit.orders.steps import ask, ask_gateway, hint, last
from tests.unit.orders.world import run

DONE: Final = frozenset(Trouble) - {Trouble.DOWN, Trouble.CUT_BEFORE}
SOON: Final = NOW + timedelta(hours=4)
REFUSED_ICCID: Final = "8985203000000009001"
TO_STRIPE: Final = Routing.to("stripe")


@pytest.fixture
def orders(tmp_path: Path, localstripe_url: str) -> Iterator[StripeOrders]:
    with orders_with_stripe(tmp_path, localstripe_url, TO_STRIPE) as running:
        yield running


def charge(orders: StripeOrders, **changes: Any) -> Charge:
    fields: dict[str, Any] = {
        "payment_id": "p-1",
        "method": PaymentMethod.CARD,
        "amount": usd(2120),
    }
    return Charge(**({"token": orders.token()} | fields | changes))


REFERENCE: Final = ChargeReference(payment_id="p-1", since=NOW)


def refund_of(captured: Captured, **changes: Any) -> Refund:
    fields: dict[str, Any] = {
        "refund_id": "r-1",
        "payment_id": "p-1",
        "gateway": captured.gateway,
        "gateway_txn_id": captured.gateway_txn_id,
        "method": PaymentMethod.CARD,
        "amount": captured.amount,
    }
    return Refund(**(fields | changes))


# -- the adapter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [None, *Trouble])
def test_answer_to_a_charge_is_true_and_the_same_key_charges_once(
    orders: StripeOrders, trouble: Trouble | None
) -> None:
    stripe, asked = stripe_of(orders), charge(orders)
    orders.proxy.troubles.append(trouble)
    first = run(stripe.charge(asked))
    assert isinstance(first, Captured if trouble in {None, Trouble.TWICE} else OutcomeUnknown)
    found = run(stripe.look_up_charge(REFERENCE))
    assert isinstance(found, Captured) == bool(orders.charged())
    orders.proxy.arrive()
    again = run(stripe.charge(asked))
    assert isinstance(again, Captured)
    assert again.amount == usd(2120)
    assert run(stripe.look_up_charge(REFERENCE)) == again
    assert orders.charged() == ["p-1"]


@pytest.mark.parametrize("trouble", [None, *Trouble])
def test_money_goes_back_once_under_one_key(orders: StripeOrders, trouble: Trouble | None) -> None:
    stripe = stripe_of(orders)
    refund = refund_of(run(stripe.charge(charge(orders))))
    orders.proxy.troubles.append(trouble)
    first = run(stripe.refund(refund))
    assert isinstance(first, Refunded if trouble in {None, Trouble.TWICE} else OutcomeUnknown)
    assert isinstance(run(stripe.look_up_refund(refund)), Refunded) == bool(orders.refunded())
    orders.proxy.arrive()
    again = run(stripe.refund(refund))
    assert isinstance(again, Refunded)
    assert run(stripe.look_up_refund(refund)) == again
    assert orders.refunded() == ["p-1"]


def test_declined_card_is_declined_and_stays_so(orders: StripeOrders) -> None:
    stripe, asked = stripe_of(orders), charge(orders, token=orders.token(DECLINED))
    for answer in (stripe.charge(asked), stripe.charge(asked), stripe.look_up_charge(REFERENCE)):
        assert run(answer) == Declined(reason=DeclineReason.UNKNOWN)
    assert orders.charged() == []


def test_token_of_nobody_is_declined(orders: StripeOrders) -> None:
    asked = charge(orders, token="cus_none-pm_none")
    assert isinstance(run(stripe_of(orders).charge(asked)), Declined)


def test_stripe_says_what_it_cannot_do(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    assert run(stripe.charge(charge(orders, method=PaymentMethod.ALIPAY))) == NotSupported()
    assert run(stripe.look_up_transaction("app", "pi_1")) == NotSupported()
    assert orders.proxy.held("payment_intents") == []


def test_charge_is_found_among_many_pages_and_only_in_its_time(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    captured = run(stripe.charge(charge(orders)))
    for _ in range(205):
        orders.proxy.post("/v1/payment_intents", amount="1", currency="usd")
    assert run(stripe.look_up_charge(REFERENCE)) == captured
    late = REFERENCE.model_copy(update={"since": NOW + timedelta(minutes=6)})
    assert run(stripe.look_up_charge(late)) == NotFound()


def test_look_up_that_is_not_answered_says_nothing(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    captured = run(stripe.charge(charge(orders)))
    orders.proxy.look_ups_are_down = True
    assert run(stripe.look_up_charge(REFERENCE)) == Unavailable()
    assert run(stripe.look_up_refund(refund_of(captured))) == Unavailable()
    assert run(stripe.look_up_transaction("stripe", captured.gateway_txn_id)) == Unavailable()


def test_stripe_that_is_not_there_did_nothing(orders: StripeOrders) -> None:
    nobody = Stripe("http://127.0.0.1:9")
    captured = Captured(gateway="stripe", gateway_txn_id="pi_1", amount=usd(1), captured_at=NOW)
    assert run(nobody.charge(charge(orders))) == Unavailable()
    assert run(nobody.refund(refund_of(captured))) == Unavailable()


def test_transaction_that_stripe_does_not_know_is_not_found(orders: StripeOrders) -> None:
    stripe = stripe_of(orders)
    for transaction in ("pi_none", "ch_1", "txn-1"):
        assert run(stripe.look_up_transaction("stripe", transaction)) == NotFound()


# -- and orders --------------------------------------------------------------------------------------

TROUBLES: Final = [
    *(None, Trouble.CUT_BEFORE, Trouble.CUT_AFTER),
    *(Trouble.ERROR_AFTER, Trouble.TWICE, Trouble.SLOW),
]
RUNS: Final = [*product(TROUBLES, ["recorded", "forgotten"])]
"""What happens to a request, and whether orders lives to record what came of it."""


@pytest.mark.parametrize(("trouble", "result"), RUNS)
def test_order_is_charged_at_most_once_and_told_as_it_is(
    orders: StripeOrders, trouble: Trouble | None, result: str
) -> None:
    world, crash = orders.world, result == "forgotten"
    ask(world, payment=by_token(orders.token()))
    orders.proxy.troubles.extend([trouble, Trouble.CUT_AFTER if crash else None])
    (effect,) = [key for key in world.effects if key.startswith("charge/")]
    world.execute(effect, crash=crash)
    world.run_until(SOON)
    captured = [each for each in world.events if isinstance(each, PaymentCaptured)]
    assert len(orders.charged()) == len(captured) == (trouble is not Trouble.CUT_BEFORE or crash)
    assert [each.gateway for each in captured] == ["stripe"] * len(captured)
    assert world.names()[-1] == ("PlanActivated" if captured else "PaymentFailed")


def test_charge_that_was_never_made_fails_and_a_new_order_pays(orders: StripeOrders) -> None:
    world, token = orders.world, orders.token()
    orders.proxy.troubles.append(Trouble.CUT_BEFORE)
    ask(world, payment=by_token(token))
    world.run_until(SOON)
    assert last(world, PaymentFailed).gateway == "stripe"
    again = renewal(renewal_id="ren-2", payment=by_token(token))
    world.tell("order/ren-2", lambda now: AcceptRenewal(again, now))
    world.run_until(SOON)
    assert orders.charged() == [last(world, PaymentCaptured).payment_id]


@pytest.mark.parametrize(("trouble", "result"), RUNS)
def test_money_goes_back_once_whatever_happens_to_its_refund(
    orders: StripeOrders, trouble: Trouble | None, result: str
) -> None:
    world, crash = orders.world, result == "forgotten"
    ask(world, payment=by_token(orders.token()), iccid=REFUSED_ICCID)
    world.run_until(NOW)
    assert world.names()[-1] == "RefundCompleted"
    assert orders.refunded() == orders.charged()
    other = renewal(renewal_id="ren-2", payment=by_token(orders.token()), iccid=REFUSED_ICCID)
    world.tell("order/ren-2", lambda now: AcceptRenewal(other, now))
    while not (due := [key for key in world.effects if key.startswith("refund/")]):
        world.execute(next(key for key, each in world.effects.items() if each.due_at))
    orders.proxy.troubles.extend([trouble, Trouble.CUT_AFTER if crash else None])
    world.execute(due[0], crash=crash)
    world.run_until(SOON)
    assert world.names().count("RefundCompleted") == 2
    assert orders.refunded() == orders.charged()
    assert last(world, RefundCompleted).gateway == "stripe"


def test_payment_of_the_shop_at_stripe_is_confirmed_and_given_back_there(
    orders: StripeOrders,
) -> None:
    world, token = orders.world, orders.token()
    customer, _, method = token.rpartition("-")
    paid = orders.proxy.post(
        "/v1/payment_intents",
        **{
            "amount": "2120",
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": "true",
            "metadata[reference]": "order/ren-1",
            "metadata[payment_id]": "shop-1",
        },
    )
    ask(world, payment=in_app(), iccid=REFUSED_ICCID)
    hint(world, **confirmation_of(paid["id"]))
    ask_gateway(world)
    captured = last(world, PaymentCaptured)
    assert (captured.gateway, captured.gateway_txn_id) == ("stripe", paid["id"])
    assert captured.external is None
    world.run_until(SOON)
    assert world.names()[-1] == "RefundCompleted"
    assert len(orders.refunded()) == 1


def confirmation_of(transaction: str) -> dict[str, Any]:
    said = confirmation(gateway="stripe", gateway_txn_id=transaction)
    return {"gateway": said.gateway, "gateway_txn_id": said.gateway_txn_id}


def test_payment_of_another_order_at_stripe_pays_nothing(orders: StripeOrders) -> None:
    world = orders.world
    ask(world, payment=by_token(orders.token()))
    world.run_until(NOW)
    transaction = last(world, PaymentCaptured).gateway_txn_id
    other = renewal(renewal_id="ren-2", payment=in_app())
    world.tell("order/ren-2", lambda now: AcceptRenewal(other, now))
    hint(world, renewal_id="ren-2", **confirmation_of(transaction))
    ask_gateway(world)
    assert world.names()[-1] == "PaymentConfirmationRefused"


def test_orders_of_two_gateways_are_charged_and_given_back_each_at_its_own(
    tmp_path: Path, localstripe_url: str
) -> None:
    """Also when the rules have changed before the money goes back."""
    shared = Route(valid_from=NOW - timedelta(days=1), gateways={"sandbox": 1, "stripe": 1})
    routing = Routing(default="sandbox", routes=[shared])
    with orders_with_stripe(tmp_path, localstripe_url, routing) as orders:
        world, token = orders.world, orders.token()
        ids = [f"ren-{number}" for number in range(8)]
        for renewal_id in ids:
            at = routing.gateway(by_token(), f"order/{renewal_id}", NOW)
            paid = by_token(token if at == "stripe" else "tok_ok")
            wanted = renewal(renewal_id=renewal_id, payment=paid, iccid=REFUSED_ICCID)
            world.tell(f"order/{renewal_id}", partial(AcceptRenewal, wanted))
        for key in [key for key in world.effects if key.startswith("charge/")]:
            world.execute(key)
        world.run_until(SOON)
        captured = [each for each in world.events if isinstance(each, PaymentCaptured)]
        returned = [each for each in world.events if isinstance(each, RefundCompleted)]
        at_stripe = sorted(each.payment_id for each in captured if each.gateway == "stripe")
        assert 0 < len(at_stripe) < len(captured) == len(returned) == len(ids)
        assert orders.charged() == orders.refunded() == at_stripe
        assert {each.payment_id: each.gateway for each in returned} == {
            each.payment_id: each.gateway for each in captured
        }


def test_what_somebody_else_gave_back_is_left_to_a_person(orders: StripeOrders) -> None:
    orders.proxy.refuses_refunds_as = "charge_already_refunded"
    world = orders.world
    ask(world, payment=by_token(orders.token()), iccid=REFUSED_ICCID)
    world.run_until(SOON)
    (kept,) = [each for key, each in world.effects.items() if key.startswith("refund/")]
    assert (kept.due_at, kept.hold_key is not None) == (None, True)
    captured = last(world, PaymentCaptured)
    refund = refund_of(
        Captured(
            gateway="stripe",
            gateway_txn_id=captured.gateway_txn_id,
            amount=captured.amount,
            captured_at=NOW,
        )
    )
    assert run(stripe_of(orders).refund(refund)) == NotRefundable()

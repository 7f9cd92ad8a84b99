"""Which gateway charges an order: by dated rules and weights, and then for ever the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.envelope import Event
from schemas.orders import (
    DeclineReason,
    PaymentFailed,
    PaymentOutcomeUnknown,
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
    UnknownCause,
)
from schemas.requests import PaymentInstruction, PaymentMethod, PaymentMode
from services.orders.decider import Command, decide
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.past import Past
from services.orders.order.routing import Route, Routing
from services.orders.order.rules import Rules
from services.orders.order.state import OrderState, Renewal
from services.orders.payments.commands import RecordCharge, RecordLookUp
from services.orders.payments.gateways.gateway import (
    Captured,
    Declined,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    Unavailable,
)
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from services.orders.unfinished import unfinished
from services.runtime.effect import Retry, Start
from services.runtime.processor import Decision
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    RULES,
    by_token,
    from_wallet,
    in_app,
    renewal,
    top_up,
    usd,
)

SOON = NOW + timedelta(days=30)
DAY = timedelta(days=1)


def paying(currency: str = "USD", country: str | None = None, **changes: Any) -> PaymentInstruction:
    fields: dict[str, Any] = {
        "method": PaymentMethod.CARD,
        "mode": PaymentMode.CHARGE,
        "currency": currency,
        "country": country,
        "token": "tok_ok",
    }
    return PaymentInstruction(**(fields | changes))


def route(*gateways: str, **changes: Any) -> Route:
    fields: dict[str, Any] = {"valid_from": NOW - DAY, "gateways": dict.fromkeys(gateways, 1)}
    return Route(**(fields | changes))


def routing(*routes: Route) -> Routing:
    return Routing(default="first", routes=[*routes])


def ruled(*routes: Route) -> Rules:
    return replace(RULES, routing=routing(*routes))


CARDS = route("stripe", methods=["card"], currencies=["USD", "EUR"], countries=["US"])
RULED = routing(
    CARDS,
    route("euro", currencies=["EUR"], valid_until=SOON),
    route("later", valid_from=SOON),
    route("first"),
)


@pytest.mark.parametrize(
    ("payment", "moment", "gateway"),
    [
        (paying(country="US"), NOW, "stripe"),
        (paying(country="US", method=PaymentMethod.PAYPAL), NOW, "first"),
        (paying(country="DE"), NOW, "first"),
        (paying(), NOW, "first"),
        (paying("EUR", "US"), NOW, "stripe"),
        (paying("EUR"), NOW, "euro"),
        (paying("EUR"), SOON - timedelta(microseconds=1), "euro"),
        (paying("EUR"), SOON, "later"),
        (paying("JPY", "US"), NOW, "first"),
        (paying(), NOW - DAY, "first"),
        (paying(), NOW - DAY - timedelta(microseconds=1), None),
    ],
)
def test_first_route_in_force_that_lets_a_payment_pass_decides(
    payment: PaymentInstruction, moment: datetime, gateway: str | None
) -> None:
    assert RULED.gateway(payment, "order/ren-1", moment) == gateway


def test_orders_are_shared_by_weight_and_each_always_gets_the_same() -> None:
    shared = routing(route("a", "b", gateways={"b": 3, "a": 1}))
    again = routing(route("a", "b", gateways={"a": 1, "b": 3}))
    ids = [f"order/ren-{number}" for number in range(4_000)]
    chosen = [shared.gateway(paying(), each, NOW) for each in ids]
    assert chosen == [again.gateway(paying(), each, NOW) for each in ids]
    assert Counter(chosen)["a"] in range(900, 1_100)


@given(
    st.text(max_size=40), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1)
)
def test_some_gateway_of_the_route_is_always_chosen(order: str, weights: dict[str, int]) -> None:
    assert routing(route(gateways=weights)).gateway(paying(), order, NOW) in weights


@pytest.mark.parametrize("gateways", [{}, {"a": 0}, {"a": -1}, {"a": 1_001}, {"": 1}])
def test_route_needs_gateways_with_weights(gateways: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Route(valid_from=NOW, gateways=gateways)


# -- what orders makes of it -------------------------------------------------------------------------


def told(command: Command, rules: Rules, *past: Event) -> Decision:
    state: OrderState = initial_state()
    for event in past:
        state = evolve(state, event)
    decision = decide(command, state, rules)
    assert isinstance(decision, Decision)
    return decision


def charge_of(decision: Decision) -> Start:
    (start,) = [e for e in decision.effects if isinstance(e, Start) and e.kind == "charge"]
    return start


@pytest.mark.parametrize("payment", [in_app(), from_wallet()])
def test_order_that_nobody_charges_names_no_gateway(payment: PaymentInstruction) -> None:
    (accepted, *_) = told(AcceptRenewal(renewal(payment=payment), NOW), RULES).events
    assert isinstance(accepted, RenewalAccepted)
    assert accepted.gateway is None


@pytest.mark.parametrize("gateway", ["stripe", "first"])
def test_accepted_order_names_the_gateway_and_so_does_its_charge(gateway: str) -> None:
    rules = ruled(route(gateway))
    renewed = told(AcceptRenewal(renewal(), NOW), rules)
    topped_up = told(AcceptTopUp(top_up(), NOW), rules)
    (accepted,), (credited,) = renewed.events, topped_up.events
    assert isinstance(accepted, RenewalAccepted)
    assert isinstance(credited, TopUpAccepted)
    assert (accepted.gateway, credited.gateway) == (gateway, gateway)
    assert (
        charge_of(renewed).payload["gateway"] == charge_of(topped_up).payload["gateway"] == gateway
    )


def test_payment_that_no_route_lets_pass_is_not_accepted() -> None:
    rules = ruled(route("euro", currencies=["EUR"]))
    (refused,) = told(AcceptRenewal(renewal(), NOW), rules).events
    (rejected,) = told(AcceptTopUp(top_up(), NOW), rules).events
    assert isinstance(refused, RenewalRejected)
    assert isinstance(rejected, TopUpRejected)
    assert refused.reason is RejectionReason.PAYMENT_METHOD_NOT_ACCEPTED
    assert rejected.reason is TopUpRejectionReason.PAYMENT_METHOD_NOT_ACCEPTED
    (accepted, *_) = told(AcceptRenewal(renewal(payment=in_app()), NOW), rules).events
    assert isinstance(accepted, RenewalAccepted)


OLD, NEW = ruled(route("old")), ruled(route("new"))
(ACCEPTED,) = told(AcceptRenewal(renewal(), NOW), OLD).events
UNCLEAR = OutcomeUnknown(cause=UnknownCause.TIMEOUT)
(LOST,) = told(RecordCharge(UNCLEAR, 1, NOW), OLD, ACCEPTED).events


def test_an_order_keeps_its_gateway_after_the_rules_changed() -> None:
    unknown = told(RecordCharge(UNCLEAR, 1, NOW), NEW, ACCEPTED)
    again = told(RecordLookUp(NotFound(), 0, 1, NOW), NEW, ACCEPTED, LOST)
    for decision in (unknown, again):
        (retry,) = decision.effects
        assert isinstance(retry, Retry)
        assert (retry.payload or {})["gateway"] == "old"
    (event,) = unknown.events
    assert isinstance(event, PaymentOutcomeUnknown)
    assert event.gateway == "old"
    for outcome in (Declined(reason=DeclineReason.EXPIRED), Unavailable(), NotSupported()):
        (failed,) = told(RecordCharge(outcome, 1, NOW + DAY), NEW, ACCEPTED).events
        assert isinstance(failed, PaymentFailed)
        assert failed.gateway == "old"


def test_refund_goes_through_the_gateway_that_was_told_to_charge() -> None:
    captured = Captured(
        gateway="acquirer-7", gateway_txn_id="txn-1", amount=usd(1), captured_at=NOW
    )
    decision = told(RecordCharge(captured, 1, NOW), NEW, ACCEPTED)
    (refund,) = [e for e in decision.effects if isinstance(e, Start)]
    assert (refund.kind, refund.payload["gateway"], refund.payload["through"]) == (
        "refund",
        "acquirer-7",
        "old",
    )


def test_what_a_lost_log_still_needs_names_the_gateway_of_the_order() -> None:
    for past in ([ACCEPTED], [ACCEPTED, LOST]):
        charge, *_ = unfinished(Past(past, renewal(), CATALOGUE))
        assert (charge.kind, charge.payload["gateway"]) == ("charge", "old")


def test_order_from_before_gateways_were_named_names_none() -> None:
    before = ACCEPTED.model_copy(update={"gateway": None})
    state = evolve(initial_state(), RenewalAccepted.parse(before.body()))
    assert isinstance(state, Renewal)
    assert state.payable.gateway is None
    (charge, *_) = unfinished(Past([before], renewal(), CATALOGUE))
    assert charge.payload["gateway"] is None
    assert b"gateway" not in before.body()


def test_token_of_a_payment_may_come_with_its_country() -> None:
    request = renewal(payment=paying(country="US"))
    assert type(request).parse(request.body()) == request
    with pytest.raises(ValidationError):
        paying(country="usa")
    assert by_token().country is None

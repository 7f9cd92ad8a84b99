"""An order whose events are in files answers repetitions as before, and begins nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from schemas.confirmations import RefundConfirmed
from schemas.orders import PaymentCaptured, RenewalRejected
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured
from services.orders.decider import decide
from services.orders.order.archival import ARCHIVAL
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.rules import IgnoredReason
from services.orders.order.state import NewOrder, OrderState, RefusedOrder
from services.orders.payments.commands import ConfirmPayment, ConfirmRefund
from services.orders.renewals.commands import AcceptRenewal
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored
from tests.unit.orders.builders import NOW, RULES, confirmation, renewal, usd
from tests.unit.orders.histories import LIVES, Life, lived


def archived(state: OrderState) -> OrderState:
    """Return what a service finds when the events are gone."""
    return ARCHIVAL.restored(json.loads(json.dumps(ARCHIVAL.remains(state))))


@settings(max_examples=100)
@given(LIVES)
def test_order_is_over_exactly_when_nothing_is_left_to_do(life: Life) -> None:
    with lived(life) as history:
        assert ARCHIVAL.is_over(history.state()) == (not history.world.effects)


@settings(max_examples=100)
@given(LIVES)
def test_archived_order_answers_every_request_as_it_did(life: Life) -> None:
    with lived(life) as history:
        asked = [each for each in history.commands if isinstance(each, AcceptRenewal)]
        state = initial_state()
        for event in history.events:
            state = evolve(state, event)
            if not ARCHIVAL.is_over(state):
                continue
            left = archived(state)
            assert ARCHIVAL.is_over(left)
            assert archived(left) == left
            for command in [*asked, AcceptRenewal(renewal(quantity=17), NOW)]:
                assert decide(command, left, RULES) == decide(command, state, RULES)


def test_request_under_the_id_of_an_archived_order_is_refused_once_and_starts_nothing() -> None:
    first = decide(AcceptRenewal(renewal(plan_code="none"), NOW), initial_state(), RULES)
    assert isinstance(first, Decision)
    left = archived(evolve(initial_state(), first.events[0]))

    refused = decide(AcceptRenewal(renewal(), NOW), left, RULES)

    assert isinstance(refused, Decision)
    assert [type(event) for event in refused.events] == [RenewalRejected]
    assert refused.effects == ()
    again = decide(AcceptRenewal(renewal(), NOW), evolve(left, refused.events[0]), RULES)
    assert isinstance(again, Ignored)


def test_money_for_an_archived_order_is_for_a_person() -> None:
    first = decide(AcceptRenewal(renewal(plan_code="none"), NOW), initial_state(), RULES)
    assert isinstance(first, Decision)
    left = archived(evolve(initial_state(), first.events[0]))

    with pytest.raises(Poison, match="ask the gateway what it holds") as refused:
        decide(ConfirmPayment(confirmation(), NOW), left, RULES)

    assert refused.value.reason == "order_archived"


def money_of_archived(
    life: Life,
) -> Iterator[tuple[OrderState, OrderState, PaymentCaptured | SurplusCaptured]]:
    """Yield the state of an order that is over, what is left of it, and each money that came in."""
    with lived(life) as history:
        state = history.state()
        if not ARCHIVAL.is_over(state) or isinstance(state, RefusedOrder | NewOrder):
            return
        left = archived(state)
        for event in history.events:
            if isinstance(event, PaymentCaptured | SurplusCaptured):
                yield state, left, event


@settings(max_examples=50)
@given(LIVES)
def test_confirmation_that_comes_again_after_the_archive_is_passed_over(life: Life) -> None:
    for _, left, event in money_of_archived(life):
        if event.method is PaymentMethod.WALLET:
            continue
        paid = {"gateway": event.gateway, "gateway_txn_id": event.gateway_txn_id}
        again = confirmation(**paid, account_id=event.account_id)
        known = Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
        assert decide(ConfirmPayment(again, NOW), left, RULES) == known
        other = confirmation(**paid, account_id="acct-other")
        with pytest.raises(Poison) as refused:
            decide(ConfirmPayment(other, NOW), left, RULES)
        assert refused.value.reason == "account_mismatch"


def answered(said: RefundConfirmed, state: OrderState) -> Decision | Ignored | tuple[str, str]:
    """Return what is decided about a refund that the shop confirms, or why a person must see it."""
    try:
        return decide(ConfirmRefund(said, NOW), state, RULES)
    except Poison as refused:
        return refused.reason, str(refused)


@settings(max_examples=100)
@given(LIVES)
def test_archived_order_answers_every_confirmed_refund_as_it_did(life: Life) -> None:
    for state, left, event in money_of_archived(life):
        said = RefundConfirmed(
            account_id=event.account_id,
            renewal_id="ren-1",
            gateway=event.gateway,
            gateway_txn_id=event.gateway_txn_id,
            gateway_refund_ref=f"shop-{event.gateway_txn_id}",
            amount=event.amount,
            refunded_at=NOW,
        )
        variants: list[dict[str, object]] = [
            {},
            {"account_id": "acct-other"},
            {"gateway": "other"},
            {"gateway_txn_id": "txn-of-nobody"},
            {"gateway_refund_ref": "shop-second"},
            {"amount": usd(event.amount.amount_minor - 1)},
        ]
        for changes in variants:
            each = said.model_copy(update=changes)
            assert answered(each, left) == answered(each, state)


def test_order_that_has_not_begun_is_never_over() -> None:
    assert not ARCHIVAL.is_over(initial_state())

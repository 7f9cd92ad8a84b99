"""What holds for every life of a renewal, in whatever order things happen to it."""

from __future__ import annotations

from collections import Counter
from typing import Final

from hypothesis import given, settings

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import (
    ActivationFailed,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    RenewalAccepted,
)
from schemas.surplus import SurplusCaptured, SurplusReturned
from services.orders.order.state import Active, Expired, NotActivated, NotPaid, Renewal
from services.runtime.processor import Ignored
from tests.unit.orders.builders import usd
from tests.unit.orders.histories import LIVES, ORDER, OWN_PAYMENT, History, Life, lived

LIVES_PER_PROPERTY: Final = 250
every_life = settings(
    max_examples=LIVES_PER_PROPERTY,
    database=None,
    derandomize=True,
)
CLOSED_STAGE: Final[dict[type[Event], type[object]]] = {
    PlanActivated: Active,
    PaymentFailed: NotPaid,
    OrderExpired: Expired,
    RefundCompleted: NotActivated,
}


def total(amounts: list[Money]) -> Money:
    """Add up amounts in cents."""
    return sum(amounts, start=usd(0))


def closings(history: History) -> list[Event]:
    """Return the events that end the order; the refusal of another request ends nothing."""
    return [event for event in history.events if type(event) in CLOSED_STAGE]


def came_in(history: History) -> list[PaymentCaptured | SurplusCaptured]:
    """Return all money that came in, whether the order took it or not."""
    return [*history.of(PaymentCaptured), *history.of(SurplusCaptured)]


@every_life
@given(LIVES)
def test_order_asked_once_is_paid_at_most_once(life: Life) -> None:
    with lived(life) as history:
        captured = came_in(history)
        assert len(history.of(PaymentCaptured)) <= 1
        assert max(Counter(each.payment_id for each in captured).values(), default=0) <= 1
        transactions = Counter((each.gateway, each.gateway_txn_id) for each in captured)
        assert max(transactions.values(), default=0) <= 1
        if not life.paid_by_strangers:
            assert len(captured) <= 1


@every_life
@given(LIVES)
def test_gateway_never_charges_more_than_once(life: Life) -> None:
    """`lived` fails too when a charge is asked for while an earlier one may have happened."""
    with lived(life) as history:
        journal = history.world.ports.gateway.journal
        with journal.locked():
            charged = journal.count("charge", OWN_PAYMENT)
        known = [each for each in came_in(history) if each.gateway == "sandbox"]
        assert charged == len(known) <= 1


@every_life
@given(LIVES)
def test_accepted_order_ends_once_and_nothing_is_left_to_do(life: Life) -> None:
    with lived(life) as history:
        assert len(history.of(RenewalAccepted)) == 1
        (end,) = closings(history)
        state = history.state()
        assert isinstance(state, Renewal)
        assert isinstance(state.stage, CLOSED_STAGE[type(end)])
        assert not state.owed
        assert history.world.effects == {}


@every_life
@given(LIVES)
def test_all_money_that_came_in_bought_the_plan_or_went_back(life: Life) -> None:
    with lived(life) as history:
        (accepted,) = history.of(RenewalAccepted)
        price = accepted.quote
        assert price.list_price - price.discount == price.net
        assert price.net + price.tax == price.total
        for each in history.of(PaymentCaptured):
            assert each.consideration.net + each.consideration.tax == each.amount
        sold, refunds = history.of(PlanActivated), history.of(RefundCompleted)
        surplus, returned = history.of(SurplusCaptured), history.of(SurplusReturned)
        assert total([each.amount for each in came_in(history)]) == total(
            [each.total for each in sold]
            + [each.amount for each in refunds]
            + [each.amount for each in returned]
        )
        assert Counter(
            (each.payment_id, each.amount.amount_minor, each.reason) for each in surplus
        ) == (
            Counter((each.payment_id, each.amount.amount_minor, each.reason) for each in returned)
        )
        promised = Counter(each.payment_id for each in history.of(ActivationFailed))
        assert promised == Counter(each.payment_id for each in refunds)


@every_life
@given(LIVES)
def test_replayed_log_is_the_state_in_memory_and_wants_nothing(life: Life) -> None:
    with lived(life) as history:
        calls = history.gateway.charge_calls
        state = history.replayed()
        assert state == history.state()
        for command in list(history.commands):
            outcome = history.world.processor.streams.kind_of(ORDER).decide(command, state)
            assert isinstance(outcome, Ignored), f"{type(command).__name__} again: {outcome}"
        assert history.gateway.charge_calls == calls

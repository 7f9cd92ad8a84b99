"""An order that is paid thousands of times over costs linear time, to fold and to decide about."""

from __future__ import annotations

from datetime import timedelta
from time import process_time
from typing import Any

from schemas.envelope import Event
from schemas.orders import RefundCompleted
from schemas.requests import PaymentMethod
from services.orders.decider import decide
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.identities import surplus_payment_id
from services.orders.order.rules import IgnoredReason
from services.orders.order.state import Renewal
from services.orders.payments.capture import Receipt, capture
from services.orders.payments.commands import ConfirmPayment
from services.orders.payments.confirmations import confirm
from services.orders.renewals.commands import AcceptRenewal
from services.runtime.processor import Decision, Ignored
from tests.given_when_then import Decider
from tests.unit.orders.builders import NOW, RULES, confirmation, in_app, renewal, usd

ORDERS: Decider[Any] = Decider(
    initial_state, evolve, lambda command, state: decide(command, state, RULES)
)


def accepted() -> Renewal:
    decision = ORDERS.when(AcceptRenewal(renewal(payment=in_app()), NOW))
    assert isinstance(decision, Decision)
    state = ORDERS.given(*decision.events)
    assert isinstance(state, Renewal)
    return state


def paid(state: Renewal, number: int) -> list[Event]:
    """Return what orders says of one more payment."""
    own = state.payable.payment_id
    receipt = Receipt(
        payment_id=surplus_payment_id(own, "gw", f"txn-{number}") if number else own,
        gateway="gw",
        gateway_txn_id=f"txn-{number}",
        method=PaymentMethod.CARD,
        amount=usd(2120),
        fee=None,
        captured_at=NOW,
    )
    decision = capture(state, receipt, RULES, NOW + timedelta(seconds=number))
    assert isinstance(decision, Decision)
    return list(decision.events)


def play(count: int) -> tuple[Renewal, float]:
    """Pay an order `count` times; return it, and the CPU seconds of deciding and folding."""
    state = accepted()
    begun = process_time()
    for number in range(count):
        for event in paid(state, number):
            state = evolve(state, event)  # type: ignore[assignment]
    return state, process_time() - begun


def test_captures_on_one_order_cost_time_that_grows_with_their_number_only() -> None:
    few = min(play(1_000)[1] for _ in range(3))
    many = min(play(8_000)[1] for _ in range(2))
    assert many < 24 * few


def test_each_payment_is_recorded_once_and_each_surplus_owed_until_it_went_back() -> None:
    state, _ = play(300)
    assert len(state.payments) == 300
    assert len(state.owed) == 299
    again = ConfirmPayment(confirmation(gateway="gw", gateway_txn_id="txn-7"), NOW)
    assert confirm(again, state) == Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
    owed = sorted(state.owed)
    after: Any = state
    for payment_id in owed[:100]:
        after = evolve(after, refund_of(state, payment_id))
    assert sorted(after.owed) == owed[100:]
    assert sorted(state.owed) == owed


def refund_of(state: Renewal, payment_id: str) -> RefundCompleted:
    payment = state.owed[payment_id]
    return RefundCompleted(
        account_id="acct-1",
        renewal_id="ren-1",
        refund_id=f"rfd-{payment_id}"[:64],
        payment_id=payment_id,
        gateway="gw",
        gateway_refund_ref="ref",
        method=payment.method,
        amount=payment.amount,
        refund=payment.consideration,
        completed_at=NOW,
    )

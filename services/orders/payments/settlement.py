"""Decides what a person says became of a refund or an unpaid order. PURE.

What nothing else tells: from the word of the gateway's people, or a statement.
Charges are settled in `payments`, confirmations in `confirmations`.
"""

from __future__ import annotations

from typing import TypeVar

from schemas.confirmations import RefundFailed
from schemas.envelope import Event
from schemas.surplus import SurplusReturnFailed
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason
from services.orders.order.state import Renewal, TopUp
from services.orders.payments.commands import SettleExpiry, SettleRefund
from services.orders.payments.effects.refund import keep_refund
from services.orders.payments.payments import close_unpaid
from services.orders.payments.refunds import refund_completed
from services.runtime.processor import Decision, Ignored

EventT = TypeVar("EventT", bound=Event)


def settle_refund(command: SettleRefund, state: Renewal) -> Decision | Ignored:
    """State that the money went back, or that it does not by this way and stays owed."""
    payment = state.owed.get(command.payment_id)
    if payment is None:
        return Ignored(IgnoredReason.REFUND_NOT_OWED)
    outcome = command.outcome
    if outcome != "not_refunded":
        completed = refund_completed(
            state.payable,
            payment,
            outcome.gateway,
            outcome.gateway_refund_ref,
            outcome.refunded_at,
        )
        return Decision((signed(completed, command.by, command.reason),))
    kind = RefundFailed if payment.surplus is None else SurplusReturnFailed
    failed = kind(
        account_id=state.payable.account_id,
        renewal_id=state.payable.order.value,
        refund_id=identities.refund_id(payment.payment_id),
        payment_id=payment.payment_id,
        settled_by=command.by,
        settlement_reason=command.reason,
        failed_at=command.now,
    )
    return Decision((failed,), (keep_refund(payment),))


def settle_expiry(command: SettleExpiry, state: Renewal | TopUp) -> Decision | Ignored:
    """Close an unpaid order before its time; money that comes later is given back all the same."""
    decision = close_unpaid(state, command.now)
    if isinstance(decision, Ignored):
        return decision
    closed = tuple(signed(event, command.by, command.reason) for event in decision.events)
    return Decision(closed, decision.effects)


def signed(event: EventT, by: str, reason: str) -> EventT:
    """Return the fact with who settled it and how it is known."""
    return event.model_copy(update={"settled_by": by, "settlement_reason": reason})

"""Decides how owed money goes back: by us, by the shop whose gateway took it, or by a person. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.confirmations import RefundConfirmed, RefundInstructed
from schemas.envelope import Event
from schemas.orders import RefundCompleted
from schemas.surplus import SurplusReturned
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import (
    ArchivedOrder,
    External,
    Payable,
    Payment,
    Renewal,
    external_of,
)
from services.orders.payments.commands import ConfirmRefund, RecordRefund
from services.orders.payments.effects.refund import drop_refund, keep_refund, refund_effect
from services.orders.payments.gateways.gateway import NotRefundable, Refunded
from services.runtime.effect import Retry, Start
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored


def give_back(
    payable: Payable, payment: Payment, now: datetime
) -> tuple[tuple[Event, ...], tuple[Start, ...]]:
    """Return what is said about money that is owed now, and how it goes back.

    What the shop's own gateway took, it alone can give back. Of unverified money nobody knows
    whether it was taken, so a person sees to it.
    """
    effects = (refund_effect(payable, payment),)
    if not payment.external or payment.unverified:
        return (), effects
    instructed = RefundInstructed(
        account_id=payable.account_id,
        renewal_id=payable.order.value,
        refund_id=identities.refund_id(payment.payment_id),
        payment_id=payment.payment_id,
        gateway=payment.gateway,
        gateway_txn_id=payment.gateway_txn_id,
        method=payment.method,
        amount=payment.amount,
        instructed_at=now,
    )
    return (instructed,), effects


def refund_completed(
    payable: Payable, payment: Payment, gateway: str, reference: str, completed_at: datetime
) -> RefundCompleted | SurplusReturned:
    """Return the fact that `payment` went back in full."""
    went_back: dict[str, Any] = {
        "account_id": payable.account_id,
        "renewal_id": payable.order.value,
        "refund_id": identities.refund_id(payment.payment_id),
        "payment_id": payment.payment_id,
        "gateway": gateway,
        "gateway_refund_ref": reference,
        "method": payment.method,
        "amount": payment.amount,
    }
    if payment.surplus is not None:
        return SurplusReturned(**went_back, reason=payment.surplus, returned_at=completed_at)
    return RefundCompleted(**went_back, refund=payment.consideration, completed_at=completed_at)


def record_refund(command: RecordRefund, state: Renewal, rules: Rules) -> Decision | Ignored:
    """State that the money went back, ask again, or keep what only a person can give back."""
    payment = state.owed.get(command.payment_id)
    if payment is None:
        return Ignored(IgnoredReason.REFUND_NOT_OWED)
    outcome = command.outcome
    if isinstance(outcome, NotRefundable):
        return Decision(effects=(keep_refund(payment),))
    if not isinstance(outcome, Refunded):
        due_at = command.now + rules.policy.refund_backoff.after(command.attempt)
        return Decision(effects=(Retry(due_at),))
    # Whatever name it answers by, the gateway was asked that took the money.
    completed = refund_completed(
        state.payable, payment, payment.gateway, outcome.gateway_refund_ref, outcome.refunded_at
    )
    return Decision((completed,))


def confirm_refund(command: ConfirmRefund, state: Renewal) -> Decision | Ignored:
    """Take the word of the gateway that took the money, that it gave it back.

    Raises:
        Poison: it is about another account's order, or nothing that this gateway was to give back.
    """
    said, payable = command.confirmation, state.payable
    payment = state.payments.by_transaction(said.gateway, said.gateway_txn_id)
    external = external_of(payment, state.returned) if payment else None
    known = _given_back(said, payable.account_id, external)
    if payment is None or payment.payment_id not in state.owed:
        return _not_owed(said, known)
    at = max(payment.captured_at, min(said.refunded_at, command.now))
    completed = refund_completed(payable, payment, said.gateway, said.gateway_refund_ref, at)
    return Decision((completed,), (drop_refund(payment),))


def confirm_archived_refund(command: ConfirmRefund, state: ArchivedOrder) -> Ignored:
    """Pass over a repetition of what went back before the order was archived: it owes nothing.

    Raises:
        Poison: it is about another account's order, or something else went back.
    """
    said = command.confirmation
    external = state.transactions.get((said.gateway, said.gateway_txn_id))
    return _not_owed(said, _given_back(said, state.account_id, external))


def _given_back(said: RefundConfirmed, account_id: str, external: External | None) -> External:
    """Return what the shop took and says that it gave back, all of it."""
    if said.account_id != account_id:
        message = (
            "the order belongs to another account: find out whose refund this is and publish it "
            "with the account and the id of its order"
        )
        raise Poison("account_mismatch", message)
    if external is None:
        message = (
            "nobody was instructed to give this transaction back: compare gateway and "
            "gateway_txn_id with RefundInstructed"
        )
        raise Poison("refund_not_instructed", message)
    if said.amount != external.amount:
        message = (
            "the refund is not the amount of the payment: give all of it back, publish a "
            "RefundConfirmed that says so, then discard this record"
        )
        raise Poison("refund_amount", message)
    return external


def _not_owed(said: RefundConfirmed, external: External) -> Ignored:
    if external.returned in {"", said.gateway_refund_ref}:
        return Ignored(IgnoredReason.REFUND_NOT_OWED)
    message = (
        "this payment is not owed: it bought what was ordered, or went back by another refund; "
        "clear it with the gateway, then discard this record"
    )
    raise Poison("refund_not_owed", message)

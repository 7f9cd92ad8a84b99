"""Decides money that came in: for the order, for a top-up, or to be given back. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import (
    ActivationFailed,
    ActivationFailureReason,
    Consideration,
    PaymentCaptured,
    RefundCompleted,
)
from schemas.requests import PaymentMethod, PaymentMode
from services.orders import identities
from services.orders.effects import expiry_key, refund_effect
from services.orders.rules import IgnoredReason, Rules
from services.orders.state import (
    AwaitingConfirmation,
    AwaitingPayment,
    Expired,
    NotPaid,
    Payable,
    Payment,
    Renewal,
    TopUp,
)
from services.orders.topups import credit
from services.runtime.processor import Decision, Drop, EffectChange, Ignored, Release, Start

WALLET_GATEWAY: Final = "wallet"
_SURPLUS: Final = ActivationFailureReason.AMOUNT_MISMATCH
"""Paid a second time: together, the payments are not what the order costs."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of money in; `consideration` is set when the ledger has split it already."""

    payment_id: str
    gateway: str
    gateway_txn_id: str
    method: PaymentMethod
    amount: Money
    fee: Money | None
    captured_at: datetime
    consideration: Consideration | None = None


def capture(
    state: Renewal | TopUp, receipt: Receipt, rules: Rules, now: datetime
) -> Decision | Ignored:
    """Record the money once per gateway transaction: it buys what it was paid for or is owed."""
    seen = {(each.gateway, each.gateway_txn_id) for each in state.payments}
    if (receipt.gateway, receipt.gateway_txn_id) in seen:
        return Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
    drops = _drops_expiry(state)
    if isinstance(state, TopUp):
        payment = _payment(receipt, _whole(receipt.amount, "none"))
        captured = _captured(state, payment, receipt.fee)
        return Decision((captured, *credit(state, payment, rules, now)), drops)
    own = isinstance(state.stage, AwaitingPayment) and (
        receipt.payment_id == state.payable.payment_id
    )
    if own and receipt.amount == state.payable.amount:
        payment = _payment(receipt, _sale(state))
        return Decision(
            (_captured(state, payment, receipt.fee),),
            (Release(state.payable.stream_id), *drops),
        )
    payment = _payment(receipt, _whole(receipt.amount, state.quote.tax_jurisdiction))
    events, effects = owe_back(state, payment, _reason(state, own=own), now)
    unheld = (Drop(state.payable.stream_id), *drops) if own else ()
    return Decision((_captured(state, payment, receipt.fee), *events), (*unheld, *effects))


def owe_back(
    state: Renewal, payment: Payment, reason: ActivationFailureReason, now: datetime
) -> tuple[tuple[Event, ...], tuple[Start, ...]]:
    """Return the promise of a refund and how it is kept; into the wallet, it is kept at once."""
    payable = state.payable
    failed = ActivationFailed(
        account_id=payable.account_id,
        renewal_id=payable.renewal_id or "",
        activation_id=identities.activation_id(payable.account_id, payable.stream_id),
        payment_id=payment.payment_id,
        reason=reason,
        method=payment.method,
        refund=payment.consideration,
        failed_at=now,
    )
    if payment.method is not PaymentMethod.WALLET:
        return (failed,), (refund_effect(payment),)
    reference = identities.refund_id(payment.payment_id)
    return (failed, refund_completed(payable, payment, WALLET_GATEWAY, reference, now)), ()


def refund_completed(
    payable: Payable, payment: Payment, gateway: str, reference: str, completed_at: datetime
) -> RefundCompleted:
    """Return the fact that `payment` went back in full."""
    return RefundCompleted(
        account_id=payable.account_id,
        renewal_id=payable.renewal_id or "",
        refund_id=identities.refund_id(payment.payment_id),
        payment_id=payment.payment_id,
        gateway=gateway,
        gateway_refund_ref=reference,
        method=payment.method,
        amount=payment.amount,
        refund=payment.consideration,
        completed_at=completed_at,
    )


def confirmed_payment_id(state: Renewal | TopUp, gateway: str, gateway_txn_id: str) -> str:
    """Return the order's own payment id for its first confirmation, else one for the surplus."""
    own = state.payable.payment_id
    if state.payable.mode is PaymentMode.AWAIT_CONFIRMATION and not state.payments:
        return own
    return identities.surplus_payment_id(own, gateway, gateway_txn_id)


def _reason(state: Renewal, *, own: bool) -> ActivationFailureReason:
    if own:
        return ActivationFailureReason.AMOUNT_MISMATCH
    if isinstance(state.stage, Expired | NotPaid):
        return ActivationFailureReason.ORDER_EXPIRED
    return _SURPLUS


def _drops_expiry(state: Renewal | TopUp) -> tuple[EffectChange, ...]:
    if isinstance(state.stage, AwaitingConfirmation):
        return (Drop(expiry_key(state.payable.stream_id)),)
    return ()


def _sale(state: Renewal) -> Consideration:
    price = state.quote
    return Consideration(
        net=price.net,
        tax=price.tax,
        tax_jurisdiction=price.tax_jurisdiction,
        bonus=Money.zero(price.total.currency),
    )


def _whole(amount: Money, jurisdiction: str) -> Consideration:
    """Return money that buys nothing, or credit, and so bears no tax."""
    zero = Money.zero(amount.currency)
    return Consideration(net=amount, tax=zero, tax_jurisdiction=jurisdiction, bonus=zero)


def _payment(receipt: Receipt, consideration: Consideration) -> Payment:
    return Payment(
        payment_id=receipt.payment_id,
        gateway=receipt.gateway,
        gateway_txn_id=receipt.gateway_txn_id,
        method=receipt.method,
        amount=receipt.amount,
        consideration=receipt.consideration or consideration,
        captured_at=receipt.captured_at,
    )


def _captured(state: Renewal | TopUp, payment: Payment, fee: Money | None) -> PaymentCaptured:
    return PaymentCaptured(
        account_id=state.payable.account_id,
        renewal_id=state.payable.renewal_id,
        topup_id=state.payable.topup_id,
        payment_id=payment.payment_id,
        attempt=len(state.payments) + 1,
        gateway=payment.gateway,
        gateway_txn_id=payment.gateway_txn_id,
        method=payment.method,
        amount=payment.amount,
        consideration=payment.consideration,
        fee=fee,
        captured_at=payment.captured_at,
    )

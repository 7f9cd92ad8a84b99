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
)
from schemas.requests import PaymentMethod, PaymentMode
from schemas.surplus import SurplusCaptured, SurplusReason
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import (
    AwaitingConfirmation,
    AwaitingPayment,
    Expired,
    NotPaid,
    Payment,
    Renewal,
    TopUp,
    untaxed,
)
from services.orders.payments.credit import credit
from services.orders.payments.effects.expire import expiry_key
from services.orders.payments.refunds import give_back, refund_completed
from services.runtime.effect import Drop, EffectChange, Release, Start
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

WALLET_GATEWAY: Final = "wallet"


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
    unverified: bool = False
    external: bool = False


def capture(
    state: Renewal | TopUp, receipt: Receipt, rules: Rules, now: datetime
) -> Decision | Ignored:
    """Record the money once per gateway transaction: it buys what it was paid for or is owed.

    Raises:
        Poison: the wallet paid an order that does not wait for it.
    """
    if state.payments.by_transaction(receipt.gateway, receipt.gateway_txn_id):
        return Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
    own = isinstance(state.stage, AwaitingPayment) and (
        receipt.payment_id == state.payable.payment_id
    )
    if not own:
        return _surplus(state, receipt, rules, now)
    drops = _drops_expiry(state)
    if isinstance(state, TopUp):
        payment = _payment(receipt, untaxed(receipt.amount, "none"))
        captured = _captured(state, payment, receipt.fee)
        return Decision((captured, *credit(state, payment, rules, now)), drops)
    if receipt.amount == state.payable.amount:
        payment = _payment(receipt, _sale(state))
        return Decision(
            (_captured(state, payment, receipt.fee),),
            (Release(state.payable.stream_id), *drops),
        )
    payment = _payment(receipt, untaxed(receipt.amount, state.quote.tax_jurisdiction))
    events, effects = owe_back(state, payment, ActivationFailureReason.AMOUNT_MISMATCH, now)
    unheld = (Drop(state.payable.stream_id), *drops)
    return Decision((_captured(state, payment, receipt.fee), *events), (*unheld, *effects))


def _surplus(state: Renewal | TopUp, receipt: Receipt, rules: Rules, now: datetime) -> Decision:
    """Record money that the order does not take: into the wallet for a top-up, else owed."""
    payable = state.payable
    if receipt.method is PaymentMethod.WALLET:
        message = "the ledger paid an order that does not wait for it: compare both logs"
        raise Poison("charge_unknown", message)
    reason = _why_surplus(state)
    captured = SurplusCaptured(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        payment_id=receipt.payment_id,
        gateway=receipt.gateway,
        gateway_txn_id=receipt.gateway_txn_id,
        method=receipt.method,
        amount=receipt.amount,
        fee=receipt.fee,
        reason=reason,
        unverified=receipt.unverified or None,
        external=receipt.external or None,
        captured_at=receipt.captured_at,
    )
    payment = _payment(receipt, untaxed(receipt.amount, "none"), reason)
    if isinstance(state, TopUp):
        return Decision((captured, *credit(state, payment, rules, now)))
    instructed, effects = give_back(payable, payment, now)
    return Decision((captured, *instructed), effects)


def _why_surplus(state: Renewal | TopUp) -> SurplusReason:
    if isinstance(state.stage, AwaitingPayment):
        return SurplusReason.PAID_ANOTHER_WAY
    match state.stage:
        case Expired():
            return SurplusReason.ORDER_EXPIRED
        case NotPaid():
            return SurplusReason.PAYMENT_FAILED
        case _:
            return SurplusReason.PAID_TWICE


def owe_back(
    state: Renewal, payment: Payment, reason: ActivationFailureReason, now: datetime
) -> tuple[tuple[Event, ...], tuple[Start, ...]]:
    """Return the promise of a refund and how it is kept; into the wallet, it is kept at once."""
    payable = state.payable
    failed = ActivationFailed(
        account_id=payable.account_id,
        renewal_id=payable.order.value,
        activation_id=identities.activation_id(payable.account_id, payable.stream_id),
        payment_id=payment.payment_id,
        reason=reason,
        method=payment.method,
        refund=payment.consideration,
        failed_at=now,
    )
    if payment.method is not PaymentMethod.WALLET:
        instructed, effects = give_back(payable, payment, now)
        return (failed, *instructed), effects
    reference = identities.refund_id(payment.payment_id)
    return (failed, refund_completed(payable, payment, WALLET_GATEWAY, reference, now)), ()


def confirmed_payment_id(state: Renewal | TopUp, gateway: str, gateway_txn_id: str) -> str:
    """Return the order's own payment id for its first confirmation, else one for the surplus."""
    own = state.payable.payment_id
    if state.payable.mode is PaymentMode.AWAIT_CONFIRMATION and not state.payments:
        return own
    return identities.surplus_payment_id(own, gateway, gateway_txn_id)


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


def _payment(
    receipt: Receipt, consideration: Consideration, surplus: SurplusReason | None = None
) -> Payment:
    return Payment(
        payment_id=receipt.payment_id,
        gateway=receipt.gateway,
        gateway_txn_id=receipt.gateway_txn_id,
        method=receipt.method,
        amount=receipt.amount,
        consideration=receipt.consideration or consideration,
        captured_at=receipt.captured_at,
        unverified=receipt.unverified,
        external=receipt.external,
        surplus=surplus,
    )


def _captured(state: Renewal | TopUp, payment: Payment, fee: Money | None) -> PaymentCaptured:
    return PaymentCaptured(
        account_id=state.payable.account_id,
        renewal_id=state.payable.order.renewal_id,
        topup_id=state.payable.order.topup_id,
        payment_id=payment.payment_id,
        attempt=state.payments.next_attempt,
        gateway=payment.gateway,
        gateway_txn_id=payment.gateway_txn_id,
        method=payment.method,
        amount=payment.amount,
        consideration=payment.consideration,
        fee=fee,
        unverified=payment.unverified or None,
        external=payment.external or None,
        captured_at=payment.captured_at,
    )

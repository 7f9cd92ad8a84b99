"""The effects that orders asks for: their kinds, ids and private payloads. PURE.

A payload is the only place where a token or an ICCID is kept, and it goes with its effect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from schemas.money import Money
from schemas.requests import PaymentInstruction, RenewalRequested
from services.orders import identities
from services.orders.state import Payment
from services.runtime.processor import JsonObject, Retry, Start

CHARGE: Final = "charge"
ACTIVATE: Final = "activate"
REFUND: Final = "refund"
EXPIRE: Final = "expire"


def charge_effect(payment_id: str, payment: PaymentInstruction, amount: Money) -> Start:
    """Charge the token at once."""
    payload: JsonObject = {
        "payment_id": payment_id,
        "token": payment.token,
        "method": payment.method.value,
        "amount": amount.model_dump(),
    }
    return Start(f"{CHARGE}/{payment_id}", CHARGE, payload)


def look_up_charge(payment_id: str, not_found_count: int, due_at: datetime) -> Retry:
    """Turn the charge into a look-up: without the token it can never charge again."""
    payload: JsonObject = {"payment_id": payment_id, "not_found_count": not_found_count}
    return Retry(due_at, payload)


def activate_effect(request: RenewalRequested, stream_id: str, validity_days: int) -> Start:
    """Activate the plan once the payment releases it."""
    reference = identities.activation_id(request.account_id, stream_id)
    payload: JsonObject = {
        "reference": reference,
        "iccid": request.iccid,
        "plan_code": request.plan_code,
        "quantity": request.quantity,
        "validity_days": validity_days,
    }
    return Start(f"{ACTIVATE}/{reference}", ACTIVATE, payload, hold_key=stream_id)


def look_up_activation(reference: str, due_at: datetime) -> Retry:
    """Turn the activation into a last look-up: without the ICCID it can never activate."""
    return Retry(due_at, {"reference": reference})


def expiry_key(stream_id: str) -> str:
    """Return the key under which the expiry is held, so that a payment can drop it."""
    return f"{stream_id}/expiry"


def expire_effect(stream_id: str, due_at: datetime) -> Start:
    """Expire the order at `due_at` unless it is paid before."""
    hold_key = expiry_key(stream_id)
    return Start(f"{EXPIRE}/{stream_id}", EXPIRE, due_at=due_at, hold_key=hold_key)


def refund_effect(payment: Payment, *, kept: bool = False) -> Start:
    """Give a payment back through its gateway; one that is `kept` only waits for a person."""
    refund_id = identities.refund_id(payment.payment_id)
    payload: JsonObject = {
        "refund_id": refund_id,
        "payment_id": payment.payment_id,
        "gateway": payment.gateway,
        "gateway_txn_id": payment.gateway_txn_id,
        "method": payment.method.value,
        "amount": payment.amount.model_dump(),
    }
    hold_key = _refund_key(payment) if kept else None
    return Start(f"{REFUND}/{refund_id}", REFUND, payload, hold_key=hold_key)


def keep_refund(payment: Payment) -> Retry:
    """Ask for the refund no more; it is kept until a person says that the money went back."""
    return Retry(None, hold_key=_refund_key(payment))


def _refund_key(payment: Payment) -> str:
    return f"{REFUND}/{payment.payment_id}"

"""The effects that payments ask for: their kinds, ids and private payloads. PURE.

A payload is the only place where a token is kept, and it goes with its effect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from schemas.envelope import utc_text
from schemas.money import Money
from schemas.requests import PaymentInstruction
from services.orders.order import identities
from services.orders.order.state import Confirmation, Payable, Payment
from services.runtime.processor import Drop, JsonObject, Retry, Start

CHARGE: Final = "charge"
REFUND: Final = "refund"
EXPIRE: Final = "expire"
CONFIRM: Final = "confirm"


def charge_effect(
    payment_id: str,
    payment: PaymentInstruction,
    amount: Money,
    gateway: str | None,
    accepted_at: datetime,
) -> Start:
    """Charge the token at once."""
    payload: JsonObject = {
        "payment_id": payment_id,
        "token": payment.token,
        "method": payment.method.value,
        "amount": amount.model_dump(),
        "gateway": gateway,
        "since": utc_text(accepted_at),
    }
    return Start(f"{CHARGE}/{payment_id}", CHARGE, payload)


def look_up_charge(
    payable: Payable, not_found_count: int, unknown_since: datetime, due_at: datetime
) -> Retry:
    """Turn the charge into a look-up: without the token it can never charge again."""
    return Retry(due_at, charge_look_up(payable, not_found_count, unknown_since))


def charge_look_up(payable: Payable, not_found_count: int, unknown_since: datetime) -> JsonObject:
    """Return the payload of a charge that is only looked up."""
    return {
        "payment_id": payable.payment_id,
        "not_found_count": not_found_count,
        "gateway": payable.gateway,
        "since": utc_text(payable.accepted_at),
        "until": utc_text(unknown_since),
    }


def expiry_key(stream_id: str) -> str:
    """Return the key under which the expiry is held, so that a payment can drop it."""
    return f"{stream_id}/expiry"


def expire_effect(stream_id: str, due_at: datetime) -> Start:
    """Expire the order at `due_at` unless it is paid before."""
    hold_key = expiry_key(stream_id)
    return Start(f"{EXPIRE}/{stream_id}", EXPIRE, due_at=due_at, hold_key=hold_key)


def confirm_effect(payable: Payable, confirmation: Confirmation) -> Start:
    """Ask the gateway about a confirmation; one that is `kept` only waits for a person."""
    payload: JsonObject = {
        "gateway": confirmation.gateway,
        "gateway_txn_id": confirmation.gateway_txn_id,
        "agreed": confirmation.claimed == payable.amount,
        "not_found_count": 0,
    }
    effect_id = f"{CONFIRM}/{_confirmation_id(payable, confirmation)}"
    hold_key = effect_id if confirmation.kept else None
    return Start(effect_id, CONFIRM, payload, hold_key=hold_key)


def look_up_confirmation(
    payable: Payable, confirmation: Confirmation, not_found_count: int, due_at: datetime
) -> Retry:
    """Ask about the confirmation again, and remember how often it was not found."""
    payload = confirm_effect(payable, confirmation).payload
    return Retry(due_at, payload | {"not_found_count": not_found_count})


def keep_confirmation(payable: Payable, confirmation: Confirmation) -> Retry:
    """Ask about the confirmation no more; it is kept until a person has seen to the money."""
    return Retry(None, hold_key=f"{CONFIRM}/{_confirmation_id(payable, confirmation)}")


def _confirmation_id(payable: Payable, confirmation: Confirmation) -> str:
    return identities.surplus_payment_id(payable.payment_id, *confirmation.key)


def refund_effect(payable: Payable, payment: Payment, *, kept: bool = False) -> Start:
    """Give a payment back through its gateway; one that is `kept` only waits for a person.

    So does unverified money: no gateway told us that the transaction is ours to give back. What
    the shop's own gateway took waits until it, or a person, says that it went back.
    """
    refund_id = identities.refund_id(payment.payment_id)
    payload: JsonObject = {
        "refund_id": refund_id,
        "payment_id": payment.payment_id,
        "gateway": payment.gateway,
        "gateway_txn_id": payment.gateway_txn_id,
        "method": payment.method.value,
        "amount": payment.amount.model_dump(),
        "through": payable.gateway if payment.payment_id == payable.payment_id else None,
    }
    held = kept or payment.unverified or payment.external
    hold_key = _refund_key(payment) if held else None
    return Start(f"{REFUND}/{refund_id}", REFUND, payload, hold_key=hold_key)


def keep_refund(payment: Payment) -> Retry:
    """Ask for the refund no more; it is kept until a person says that the money went back."""
    return Retry(None, hold_key=_refund_key(payment))


def drop_refund(payment: Payment) -> Drop:
    """Wait no longer for somebody to say that the money went back."""
    return Drop(_refund_key(payment))


def _refund_key(payment: Payment) -> str:
    return f"{REFUND}/{payment.payment_id}"

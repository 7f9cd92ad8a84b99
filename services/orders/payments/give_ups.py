"""What a person settled about an effect of payments, as a command for its order. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Final, assert_never

from services.orders.payments.commands import (
    CapturedElsewhere,
    RefundedElsewhere,
    SettleConfirmation,
    SettleExpiry,
    SettleRefund,
    SettleUnknownPayment,
)
from services.orders.payments.gateways.gateway import (
    Found,
    NotFound,
    NotSupported,
    TransactionLookUp,
    Unavailable,
)
from services.runtime.errors import SettlementRefused
from services.runtime.processor import EffectRun, Settlement

_NOT_ASKED: Final = Unavailable()


def on_charge_settled(
    said: Settlement, run: EffectRun, now: datetime, *, told: TransactionLookUp = _NOT_ASKED
) -> SettleUnknownPayment:
    """Settle a payment as a person found it; `told` is what the gateway says of the transaction.

    Raises:
        SettlementRefused: the outcome is none of a charge, captured money has no reference, or the
            gateway can be asked and does not bear it out.
    """
    by, reason = said.by, said.reason
    match said:
        case Settlement(outcome="captured", gateway=str(gateway), reference=str(reference)):
            at = min(said.at, now) if said.at else None
            found = CapturedElsewhere(gateway, reference, at, _borne_out(told, run))
            return SettleUnknownPayment(found, by, reason, now)
        case Settlement(outcome="captured"):
            raise SettlementRefused("captured money needs the gateway and its transaction id")
        case Settlement(outcome="not_charged"):
            return SettleUnknownPayment("not_charged", by, reason, now)
        case _:
            raise SettlementRefused("the outcome of a charge is captured or not_charged")


def _borne_out(told: TransactionLookUp, run: EffectRun) -> Found | None:
    """Return what the gateway holds for this charge, None when it cannot be asked."""
    match told:
        case NotSupported():
            return None
        case Unavailable():
            problem = "the gateway does not answer about this transaction now: ask again later"
        case NotFound():
            problem = "the gateway knows no such transaction: compare its id with the statement"
        case Found() if told.reference not in {run.stream_id, run.payload["payment_id"]}:
            problem = "the gateway holds this transaction for another payment: find the right one"
        case Found() if told.holds_money:
            return told
        case Found():
            problem = (
                f"the gateway says that this transaction is {told.status}, of {told.amount}: nothing "
                "came in"
            )
        case _:
            assert_never(told)
    raise SettlementRefused(problem)


def on_refund_settled(said: Settlement, run: EffectRun, now: datetime) -> SettleRefund:
    """Settle a refund as a person found or made it.

    Raises:
        SettlementRefused: the outcome is none of a refund, or refunded money has no reference.
    """
    by, reason, payment_id = said.by, said.reason, run.payload["payment_id"]
    match said:
        case Settlement(outcome="refunded", gateway=str(gateway), reference=str(reference)):
            found = RefundedElsewhere(gateway, reference, _when(said, now))
            return SettleRefund(payment_id, found, by, reason, now)
        case Settlement(outcome="refunded"):
            raise SettlementRefused("refunded money needs the gateway and its refund's reference")
        case Settlement(outcome="not_refunded"):
            return SettleRefund(payment_id, "not_refunded", by, reason, now)
        case _:
            raise SettlementRefused("the outcome of a refund is refunded or not_refunded")


def on_expiry_settled(said: Settlement, _run: EffectRun, now: datetime) -> SettleExpiry:
    """Close an order that nobody pays before its time.

    Raises:
        SettlementRefused: the outcome is not that it expired.
    """
    if said.outcome != "expired":
        message = "the outcome of an expiry is expired: a payment comes in as PaymentConfirmed"
        raise SettlementRefused(message)
    return SettleExpiry(said.by, said.reason, now)


def on_confirmation_settled(said: Settlement, run: EffectRun, now: datetime) -> SettleConfirmation:
    """Close the question of a confirmation: its money is none of this order's, or went back.

    Raises:
        SettlementRefused: the outcome is not that it was settled.
    """
    if said.outcome != "settled":
        message = "the outcome of a confirmation is settled: the gateway alone says what was paid"
        raise SettlementRefused(message)
    gateway, txn = run.payload["gateway"], run.payload["gateway_txn_id"]
    return SettleConfirmation(gateway, txn, said.by, said.reason, now)


def _when(said: Settlement, now: datetime) -> datetime:
    """Return when it happened, as far as that is known; nothing happened later than now."""
    return min(said.at or now, now)

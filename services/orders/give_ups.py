"""What a person settled about an effect of orders, as a command for its order. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.orders.commands import (
    ActivatedElsewhere,
    CapturedElsewhere,
    RefundedElsewhere,
    SettleActivation,
    SettleExpiry,
    SettleRefund,
    SettleUnknownPayment,
)
from services.orders.effects import ACTIVATE, CHARGE, EXPIRE, REFUND
from services.runtime.errors import Poison
from services.runtime.processor import EffectRun, GiveUp, OnGiveUp


def on_charge_given_up(given_up: GiveUp, _run: EffectRun, now: datetime) -> SettleUnknownPayment:
    """Settle a payment as a person found it.

    Raises:
        Poison: the outcome is none of a charge, or captured money has no reference.
    """
    by, reason = given_up.by, given_up.reason
    match given_up:
        case GiveUp(outcome="captured", gateway=str(gateway), reference=str(reference)):
            at = min(given_up.at, now) if given_up.at else None
            found = CapturedElsewhere(gateway, reference, at)
            return SettleUnknownPayment(found, by, reason, now)
        case GiveUp(outcome="captured"):
            raise Poison("give_up", "captured money needs the gateway and its transaction id")
        case GiveUp(outcome="not_charged"):
            return SettleUnknownPayment("not_charged", by, reason, now)
        case _:
            raise Poison("give_up", "the outcome of a charge is captured or not_charged")


def on_activation_given_up(given_up: GiveUp, _run: EffectRun, now: datetime) -> SettleActivation:
    """Settle an activation as a person found it.

    Raises:
        Poison: the outcome is none of an activation, or an active plan has no reference.
    """
    by, reason = given_up.by, given_up.reason
    match given_up:
        case GiveUp(outcome="activated", provider=str(provider), reference=str(reference)):
            found = ActivatedElsewhere(provider, reference, _when(given_up, now))
            return SettleActivation(found, by, reason, now)
        case GiveUp(outcome="activated"):
            raise Poison("give_up", "an active plan needs the provider and its reference")
        case GiveUp(outcome="not_activated"):
            return SettleActivation("not_activated", by, reason, now)
        case _:
            raise Poison("give_up", "the outcome of an activation is activated or not_activated")


def on_refund_given_up(given_up: GiveUp, run: EffectRun, now: datetime) -> SettleRefund:
    """Settle a refund as a person found or made it.

    Raises:
        Poison: the outcome is none of a refund, or refunded money has no reference.
    """
    by, reason, payment_id = given_up.by, given_up.reason, run.payload["payment_id"]
    match given_up:
        case GiveUp(outcome="refunded", gateway=str(gateway), reference=str(reference)):
            found = RefundedElsewhere(gateway, reference, _when(given_up, now))
            return SettleRefund(payment_id, found, by, reason, now)
        case GiveUp(outcome="refunded"):
            raise Poison("give_up", "refunded money needs the gateway and its refund's reference")
        case GiveUp(outcome="not_refunded"):
            return SettleRefund(payment_id, "not_refunded", by, reason, now)
        case _:
            raise Poison("give_up", "the outcome of a refund is refunded or not_refunded")


def on_expiry_given_up(given_up: GiveUp, _run: EffectRun, now: datetime) -> SettleExpiry:
    """Close an order that nobody pays before its time.

    Raises:
        Poison: the outcome is not that it expired.
    """
    if given_up.outcome != "expired":
        message = "the outcome of an expiry is expired: a payment comes in as PaymentConfirmed"
        raise Poison("give_up", message)
    return SettleExpiry(given_up.by, given_up.reason, now)


def _when(given_up: GiveUp, now: datetime) -> datetime:
    """Return when it happened, as far as that is known; nothing happened later than now."""
    return min(given_up.at or now, now)


GIVE_UPS: Final[Mapping[str, OnGiveUp]] = {
    CHARGE: on_charge_given_up,
    ACTIVATE: on_activation_given_up,
    REFUND: on_refund_given_up,
    EXPIRE: on_expiry_given_up,
}

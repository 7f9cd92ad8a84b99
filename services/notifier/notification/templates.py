"""Which facts customers are told of, and by which kind of message: the same in every channel. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected
from schemas.orders import (
    ActivationDelayed,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.surplus import SurplusCredited, SurplusReturned

TEMPLATE_OF: Final[Mapping[type[Event], str]] = MappingProxyType(
    {
        PlanActivated: "renewal_confirmed",
        PaymentFailed: "payment_failed",
        WalletToppedUp: "top_up_confirmed",
        ActivationDelayed: "activation_delayed",
        RefundCompleted: "refund_completed",
        LowBalanceDetected: "low_balance",
        SurplusReturned: "surplus_returned",
        SurplusCredited: "surplus_credited",
        PaymentActionRequired: "payment_action_required",
    }
)


def order_of(event: Event) -> str:
    """Return the id of the order that an event is about, "" when it is about none."""
    order = getattr(event, "renewal_id", None) or getattr(event, "topup_id", None)
    return order or ""

"""What every decision may look at besides the order: the catalogue, the policy, the routing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.requests import PaymentInstruction, PaymentMode
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.policy import Policy
from services.orders.order.routing import Routing


@dataclass(frozen=True, slots=True)
class Rules:
    """The catalogue, the policy and the routing that are in force."""

    catalogue: Catalogue
    policy: Policy
    routing: Routing

    def accepts(self, payment: PaymentInstruction, moment: datetime) -> bool:
        """Say whether one can pay so."""
        sold_for = self.catalogue.accepts(payment.method, payment.mode, payment.currency)
        charged = payment.mode is PaymentMode.CHARGE
        return sold_for and (not charged or self.routing.route(payment, moment) is not None)

    def gateway(self, payment: PaymentInstruction, stream_id: str, moment: datetime) -> str | None:
        """Return the gateway that charges an order; None: it is not charged."""
        if payment.mode is not PaymentMode.CHARGE:
            return None
        return self.routing.gateway(payment, stream_id, moment)


class IgnoredReason(StrEnum):
    """Why there was nothing to do."""

    DUPLICATE_REQUEST = "duplicate_request"
    DUPLICATE_REFUSED_REQUEST = "duplicate_refused_request"
    PAYMENT_ALREADY_RECORDED = "payment_already_recorded"
    CONFIRMATION_UNDER_WAY = "confirmation_under_way"
    CONFIRMATION_NOT_AWAITED = "confirmation_not_awaited"
    PAYMENT_NOT_AWAITED = "payment_not_awaited"
    PAYMENT_OUTCOME_NOT_UNKNOWN = "payment_outcome_not_unknown"
    ACTIVATION_NOT_AWAITED = "activation_not_awaited"
    NOT_FOR_ORDERS = "not_for_orders"
    REFUND_NOT_OWED = "refund_not_owed"

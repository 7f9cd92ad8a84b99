"""What every decision may look at besides the order: the catalogue and the policy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.policy import Policy


@dataclass(frozen=True, slots=True)
class Rules:
    """The catalogue and the policy that are in force."""

    catalogue: Catalogue
    policy: Policy


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

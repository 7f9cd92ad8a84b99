"""The contents of the published language: every event and its topic, and what the tables hold."""

from __future__ import annotations

from typing import Final

from schemas import catalogue, confirmations, ledger, notifier, orders, requests, surplus
from schemas.envelope import SCHEMA_BASE_URI, Event, Message
from schemas.registry import EventRegistry, Topic
from schemas.topics import CATALOGUE, CONFIRMATIONS, LEDGER, NOTIFICATIONS, ORDERS, REQUESTS

EVENTS: Final[tuple[tuple[type[Event], Topic], ...]] = (
    (requests.RenewalRequested, REQUESTS),
    (requests.TopUpRequested, REQUESTS),
    (requests.CustomerContactChanged, REQUESTS),
    (confirmations.PaymentConfirmed, CONFIRMATIONS),
    (confirmations.RefundConfirmed, CONFIRMATIONS),
    (orders.RenewalAccepted, ORDERS),
    (orders.RenewalRejected, ORDERS),
    (orders.OrderExpired, ORDERS),
    (confirmations.PaymentConfirmationReceived, ORDERS),
    (confirmations.PaymentConfirmationRefused, ORDERS),
    (orders.PaymentCaptured, ORDERS),
    (orders.PaymentFailed, ORDERS),
    (orders.PaymentOutcomeUnknown, ORDERS),
    (orders.PaymentOutcomeResolved, ORDERS),
    (confirmations.PaymentActionRequired, ORDERS),
    (orders.PlanActivated, ORDERS),
    (orders.ActivationDelayed, ORDERS),
    (orders.ActivationFailed, ORDERS),
    (confirmations.RefundInstructed, ORDERS),
    (orders.RefundCompleted, ORDERS),
    (confirmations.RefundFailed, ORDERS),
    (surplus.SurplusCaptured, ORDERS),
    (surplus.SurplusReturned, ORDERS),
    (surplus.SurplusReturnFailed, ORDERS),
    (surplus.SurplusCredited, ORDERS),
    (orders.TopUpAccepted, ORDERS),
    (orders.TopUpRejected, ORDERS),
    (orders.WalletToppedUp, ORDERS),
    (orders.BonusGranted, ORDERS),
    (orders.WalletChargeRequested, ORDERS),
    (ledger.WalletCharged, LEDGER),
    (ledger.WalletChargeRefused, LEDGER),
    (ledger.LowBalanceDetected, LEDGER),
    (notifier.NotificationSent, NOTIFICATIONS),
    (notifier.NotificationFailed, NOTIFICATIONS),
    (notifier.NotificationSuppressed, NOTIFICATIONS),
    (notifier.NotificationDelivered, NOTIFICATIONS),
    (notifier.NotificationUndelivered, NOTIFICATIONS),
)

ROWS: Final[tuple[tuple[type[Message], Topic], ...]] = ((catalogue.PlanOffered, CATALOGUE),)
"""What the tables hold; not events, and in no log."""
MESSAGES: Final[tuple[tuple[type[Message], Topic], ...]] = (*EVENTS, *ROWS)

BILLING: Final = EventRegistry(EVENTS, namespace="billing", schema_base=SCHEMA_BASE_URI)
"""The language of the whole system, as every service hands it to the runtime."""
EVENT_TYPES: Final = BILLING.types
TOPIC_OF: Final = BILLING.topic_of

TERMINAL_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        orders.RenewalRejected,
        orders.TopUpRejected,
        orders.OrderExpired,
        orders.PaymentFailed,
        orders.PlanActivated,
        orders.RefundCompleted,
        orders.WalletToppedUp,
    }
)
"""An order ends with exactly one of these. `RefundCompleted` ends the order of `ActivationFailed`."""

"""The published language: every event and its topic. Start reading at `EVENTS`."""

from __future__ import annotations

from typing import Final

from schemas import ledger, notifier, orders, requests
from schemas.envelope import Event
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, REQUESTS, Topic

EVENTS: Final[tuple[tuple[type[Event], Topic], ...]] = (
    (requests.RenewalRequested, REQUESTS),
    (requests.TopUpRequested, REQUESTS),
    (requests.PaymentConfirmed, REQUESTS),
    (requests.CustomerContactChanged, REQUESTS),
    (orders.RenewalAccepted, ORDERS),
    (orders.RenewalRejected, ORDERS),
    (orders.OrderExpired, ORDERS),
    (orders.PaymentCaptured, ORDERS),
    (orders.PaymentFailed, ORDERS),
    (orders.PaymentOutcomeUnknown, ORDERS),
    (orders.PaymentOutcomeResolved, ORDERS),
    (orders.PlanActivated, ORDERS),
    (orders.ActivationDelayed, ORDERS),
    (orders.ActivationFailed, ORDERS),
    (orders.RefundCompleted, ORDERS),
    (orders.RefundFailed, ORDERS),
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
)

EVENT_TYPES: Final[dict[str, type[Event]]] = {model.wire_type(): model for model, _ in EVENTS}
TOPIC_OF: Final[dict[str, Topic]] = {model.wire_type(): topic for model, topic in EVENTS}

"""What is counted about the events of orders."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

from iso4217 import Currency

from schemas.confirmations import (
    ConfirmationRefusal,
    PaymentActionRequired,
    PaymentConfirmationReceived,
    PaymentConfirmationRefused,
)
from schemas.orders import (
    ActivationDelayed,
    ActivationFailed,
    ActivationFailureReason,
    DeclineReason,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    PlanActivated,
    RefundCompleted,
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
    UnknownCause,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusReason, SurplusReturned
from services.runtime.event_counter import EventCounter

_CURRENCIES: Final = tuple(currency.code for currency in Currency)
_MONEY_SERIES: Final = frozenset(product(_CURRENCIES, tuple(PaymentMethod)))


def _by_currency_and_method(event: Any) -> tuple[tuple[str, str], int]:  # noqa: ANN401 - any fact of money
    return (event.amount.currency, event.method), event.amount.amount_minor


RENEWALS: Final = EventCounter(
    name="orders_renewals",
    meaning="Renewals that reached an outcome; the reason is empty unless one is given.",
    labels=("outcome", "reason"),
    series=frozenset(
        {("accepted", ""), ("activated", ""), ("delayed", ""), ("refunded", ""), ("expired", "")}
        | {("rejected", reason.value) for reason in RejectionReason}
        | {("activation_failed", reason.value) for reason in ActivationFailureReason}
    ),
    count={
        RenewalAccepted: lambda _: (("accepted", ""), 1),
        RenewalRejected: lambda event: (("rejected", event.reason), 1),
        PlanActivated: lambda _: (("activated", ""), 1),
        ActivationDelayed: lambda _: (("delayed", ""), 1),
        ActivationFailed: lambda event: (("activation_failed", event.reason), 1),
        RefundCompleted: lambda _: (("refunded", ""), 1),
        OrderExpired: lambda event: (("expired", ""), 1 if event.renewal_id else 0),
    },
)
TOP_UPS: Final = EventCounter(
    name="orders_top_ups",
    meaning="Top-ups that reached an outcome; the reason is empty unless one is given.",
    labels=("outcome", "reason"),
    series=frozenset(
        {("accepted", ""), ("credited", ""), ("expired", "")}
        | {("rejected", reason.value) for reason in TopUpRejectionReason}
    ),
    count={
        TopUpAccepted: lambda _: (("accepted", ""), 1),
        TopUpRejected: lambda event: (("rejected", event.reason), 1),
        WalletToppedUp: lambda _: (("credited", ""), 1),
        OrderExpired: lambda event: (("expired", ""), 1 if event.topup_id else 0),
    },
)
_RESOLVED: Final = ("captured", "declined", "not_charged", "action_required")
PAYMENTS: Final = EventCounter(
    name="orders_payments",
    meaning="Answers of gateways and wallets; `unknown` ones are looked up until `resolved`,"
    " `action_required` ones wait for the customer, and `surplus` is money that its order does"
    " not take.",
    labels=("outcome", "reason"),
    series=frozenset(
        {("captured", ""), ("action_required", "")}
        | {("surplus", reason.value) for reason in SurplusReason}
        | {("failed", reason.value) for reason in DeclineReason}
        | {("unknown", cause.value) for cause in UnknownCause}
        | {("resolved", outcome) for outcome in _RESOLVED}
    ),
    count={
        PaymentCaptured: lambda _: (("captured", ""), 1),
        SurplusCaptured: lambda event: (("surplus", event.reason), 1),
        PaymentActionRequired: lambda _: (("action_required", ""), 1),
        PaymentFailed: lambda event: (("failed", event.reason), 1),
        PaymentOutcomeUnknown: lambda event: (("unknown", event.cause), 1),
        PaymentOutcomeResolved: lambda event: (("resolved", event.outcome), 1),
    },
)
CONFIRMATIONS: Final = EventCounter(
    name="orders_confirmations",
    meaning="Confirmations of payments: received, and refused when the gateway does not bear them out.",
    labels=("outcome", "reason"),
    series=frozenset(
        {("received", "")} | {("refused", reason.value) for reason in ConfirmationRefusal}
    ),
    count={
        PaymentConfirmationReceived: lambda _: (("received", ""), 1),
        PaymentConfirmationRefused: lambda event: (("refused", event.reason), 1),
    },
)
CAPTURED: Final = EventCounter(
    name="orders_captured_minor_units",
    meaning="Money captured, and wallet credit taken (method `wallet`), in minor units.",
    labels=("currency", "method"),
    series=_MONEY_SERIES,
    count=dict.fromkeys((PaymentCaptured, SurplusCaptured), _by_currency_and_method),
    sparse=True,
)
REFUNDED: Final = EventCounter(
    name="orders_refunded_minor_units",
    meaning="Money and wallet credit given back, in minor units.",
    labels=("currency", "method"),
    series=_MONEY_SERIES,
    count=dict.fromkeys((RefundCompleted, SurplusReturned), _by_currency_and_method),
    sparse=True,
)
COUNTERS: Final = (RENEWALS, TOP_UPS, PAYMENTS, CONFIRMATIONS, CAPTURED, REFUNDED)

"""What is counted about the events that the ledger files and makes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, Final

from iso4217 import Currency

from schemas import EVENTS
from schemas.envelope import Event
from schemas.ledger import (
    ChargeRefusalReason,
    LowBalanceDetected,
    WalletCharged,
    WalletChargeRefused,
)
from schemas.orders import BonusGranted, PaymentCaptured, RefundCompleted, WalletToppedUp
from schemas.surplus import SurplusCaptured, SurplusCredited, SurplusReturned
from schemas.topics import LEDGER, ORDERS
from services.ledger.rules.amounts import MONEY_FACTS
from services.runtime.event_counter import EventCounter

_BOOKED: Final = (
    PaymentCaptured,
    RefundCompleted,
    WalletToppedUp,
    BonusGranted,
    WalletCharged,
)
_SURPLUS: Final = (SurplusCaptured, SurplusReturned, SurplusCredited)


def _series_of(facts: Iterable[type[Event]]) -> frozenset[tuple[str, str]]:
    names = tuple(model.__name__ for model in facts)
    return frozenset(product(names, tuple(currency.code for currency in Currency)))


def _by_fact(event: Any) -> tuple[tuple[str, str], int]:  # noqa: ANN401 - any fact with an amount
    return (type(event).__name__, event.amount.currency), event.amount.amount_minor


WALLET_DECISIONS: Final = EventCounter(
    name="ledger_wallet_decisions",
    meaning="What the ledger decided about wallets; the reason is empty unless one is given.",
    labels=("decision", "reason"),
    series=frozenset(
        {("charged", ""), ("low_balance", "")}
        | {("refused", reason.value) for reason in ChargeRefusalReason}
    ),
    count={
        WalletCharged: lambda _: (("charged", ""), 1),
        WalletChargeRefused: lambda event: (("refused", event.reason), 1),
        LowBalanceDetected: lambda _: (("low_balance", ""), 1),
    },
)
ENTRIES: Final = EventCounter(
    name="ledger_entries",
    meaning="Facts entered, by whether their type moves money (`yes`) or has no postings (`no`).",
    labels=("moves_money",),
    series=frozenset({("yes",), ("no",)}),
    count={
        model: (lambda _: (("yes",), 1)) if model in MONEY_FACTS else (lambda _: (("no",), 1))
        for model, topic in EVENTS
        if topic in {ORDERS, LEDGER}
    },
)
BOOKED: Final = EventCounter(
    name="ledger_booked_minor_units",
    meaning="Amounts of the facts that were booked, in minor units.",
    labels=("fact", "currency"),
    series=_series_of(_BOOKED),
    count=dict.fromkeys(_BOOKED, _by_fact),
    sparse=True,
)
SURPLUS: Final = EventCounter(
    name="ledger_surplus_minor_units",
    meaning="Money that orders did not take, as it came in, went back or was credited, in minor units.",
    labels=("fact", "currency"),
    series=_series_of(_SURPLUS),
    count=dict.fromkeys(_SURPLUS, _by_fact),
    sparse=True,
)
COUNTERS: Final = (WALLET_DECISIONS, ENTRIES, BOOKED, SURPLUS)

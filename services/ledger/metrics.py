"""What is counted about the events that the ledger files and makes."""

from __future__ import annotations

from itertools import product
from typing import Final

from iso4217 import Currency

from schemas import EVENTS
from schemas.ledger import (
    ChargeRefusalReason,
    LowBalanceDetected,
    WalletCharged,
    WalletChargeRefused,
)
from schemas.orders import BonusGranted, PaymentCaptured, RefundCompleted, WalletToppedUp
from schemas.topics import LEDGER, ORDERS
from services.ledger.amounts import SHAPES
from services.runtime.watch.event_counter import EventCounter

_BOOKED: Final = (PaymentCaptured, RefundCompleted, WalletToppedUp, BonusGranted, WalletCharged)

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
        model: (lambda _: (("yes",), 1)) if model in SHAPES else (lambda _: (("no",), 1))
        for model, topic in EVENTS
        if topic in {ORDERS, LEDGER}
    },
)
BOOKED: Final = EventCounter(
    name="ledger_booked_minor_units",
    meaning="Amounts of the facts that were booked, in minor units.",
    labels=("fact", "currency"),
    series=frozenset(
        product(
            tuple(model.__name__ for model in _BOOKED),
            tuple(currency.code for currency in Currency),
        )
    ),
    count=dict.fromkeys(
        _BOOKED,
        lambda event: ((type(event).__name__, event.amount.currency), event.amount.amount_minor),
    ),
    sparse=True,
)
COUNTERS: Final = (WALLET_DECISIONS, ENTRIES, BOOKED)

"""Turns what orders says into commands for wallets; everything else is filed as it came."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from schemas import BILLING, EVENTS
from schemas.envelope import Envelope, Event
from schemas.money import AMOUNT_MINOR_MAX, Money, exponent_of
from schemas.orders import BonusGranted, RefundCompleted, WalletChargeRequested, WalletToppedUp
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited
from schemas.topics import LEDGER, ORDERS, Source
from services.ledger.books.projection import projection
from services.ledger.decider import (
    AddLot,
    ChargeWallet,
    FileFact,
    RestoreCharge,
    decide,
)
from services.ledger.metrics import COUNTERS
from services.ledger.rules.rule_set import RuleSet
from services.ledger.wallets import WALLETS, initial_state
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.processor import Handler, Processor, Streams, Subscription, Task, on

LOW_BALANCE: Final = Path(__file__).with_name("low_balance.toml")


def load_low_balance(path: Path = LOW_BALANCE) -> dict[str, Money]:
    """Read the low-balance threshold of each currency.

    Raises:
        ConfigurationError: the file names an unknown currency or something that is no amount.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["low_balance"]
        for currency, amount_minor in table.items():
            exponent_of(currency)
            if type(amount_minor) is not int or not 0 < amount_minor <= AMOUNT_MINOR_MAX:
                message = f"{currency} needs a positive integer of minor units"
                raise ValueError(message)
    except (OSError, ValueError, KeyError) as error:
        message = f"{path}: not usable as low-balance thresholds ({error}): restore the file"
        raise ConfigurationError(message) from None
    return {name: Money(amount_minor=minor, currency=name) for name, minor in table.items()}


def on_fact(envelope: Envelope, _event: Event, _now: datetime) -> Task:
    """File a fact that moves no wallet, in the stream that orders keeps it in."""
    subject = envelope.subject
    if subject is None:
        raise Poison("subject_missing", "events of orders carry ce_subject: publish them again")
    return Task(subject, FileFact(), stateless=True)


def on_wallet_topped_up(
    _envelope: Envelope, event: WalletToppedUp | SurplusCredited, _now: datetime
) -> Task:
    """Add a lot of paid credit."""
    return Task(wallet_stream(event), AddLot(event))


def on_bonus_granted(_envelope: Envelope, event: BonusGranted, _now: datetime) -> Task:
    """Add a lot of granted credit."""
    return Task(wallet_stream(event), AddLot(event))


def on_refund_completed(envelope: Envelope, event: RefundCompleted, now: datetime) -> Task:
    """Give a wallet its lots back; any other refund moves no wallet."""
    if event.method is not PaymentMethod.WALLET:
        return on_fact(envelope, event, now)
    return Task(wallet_stream(event), RestoreCharge(event))


def wallet_stream(event: Event) -> str:
    """Return the stream of an account's wallet."""
    return WALLETS.stream_id(event.account_id)


def build_processor(*, rules: RuleSet, low_balance: Mapping[str, Money]) -> Processor:
    """Return the ledger as the runtime sees it; `rules` book, `low_balance` is by currency."""

    def on_wallet_charge_requested(
        _envelope: Envelope, event: WalletChargeRequested, now: datetime
    ) -> Task:
        threshold = low_balance.get(event.amount.currency)
        return Task(wallet_stream(event), ChargeWallet(event, threshold, now))

    handlers: dict[type[Event], Handler] = {
        model: on_fact for model, topic in EVENTS if topic is ORDERS
    }
    handlers |= (
        on(WalletToppedUp, on_wallet_topped_up),
        on(SurplusCredited, on_wallet_topped_up),
        on(BonusGranted, on_bonus_granted),
        on(RefundCompleted, on_refund_completed),
        on(WalletChargeRequested, on_wallet_charge_requested),
    )
    return Processor(
        source=Source.LEDGER,
        group="ledger",
        output_topic=LEDGER.name,
        subscriptions=(Subscription(ORDERS.name, strict=True),),
        handlers=handlers,
        streams=Streams(BILLING, WALLETS.decided_by(decide)),
        decide_stateless=lambda command: decide(command, initial_state()),
        records_incoming=True,
        project=projection(rules),
        counters=COUNTERS,
    )

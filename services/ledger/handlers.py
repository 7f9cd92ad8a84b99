"""Turns what orders says into commands for wallets; everything else is filed as it came."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from schemas import EVENTS
from schemas.envelope import Event, Source
from schemas.money import AMOUNT_MINOR_MAX, Money, exponent_of
from schemas.orders import BonusGranted, RefundCompleted, WalletChargeRequested, WalletToppedUp
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited
from schemas.topics import LEDGER, ORDERS
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
from services.ledger.wallets import WalletState, evolve, initial_state
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.processor import Handler, Incoming, Processor, Subscription, Task

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


def on_fact(incoming: Incoming, _now: datetime) -> Task:
    """File a fact that moves no wallet, in the stream that orders keeps it in."""
    subject = incoming.envelope.subject
    if subject is None:
        raise Poison("subject_missing", "events of orders carry ce_subject: publish them again")
    return Task(subject, FileFact(), stateless=True)


def on_wallet_topped_up(incoming: Incoming, _now: datetime) -> Task:
    """Add a lot of paid credit."""
    fact = cast("WalletToppedUp | SurplusCredited", incoming.event)
    return Task(wallet_stream(fact), AddLot(fact))


def on_bonus_granted(incoming: Incoming, _now: datetime) -> Task:
    """Add a lot of granted credit."""
    fact = cast("BonusGranted", incoming.event)
    return Task(wallet_stream(fact), AddLot(fact))


def on_refund_completed(incoming: Incoming, now: datetime) -> Task:
    """Give a wallet its lots back; any other refund moves no wallet."""
    refund = cast("RefundCompleted", incoming.event)
    if refund.method is not PaymentMethod.WALLET:
        return on_fact(incoming, now)
    return Task(wallet_stream(refund), RestoreCharge(refund))


def wallet_stream(event: Event) -> str:
    """Return the stream of an account's wallet."""
    return f"wallet/{event.account_id}"


def build_processor(*, rules: RuleSet, low_balance: Mapping[str, Money]) -> Processor[WalletState]:
    """Return the ledger as the runtime sees it; `rules` book, `low_balance` is by currency."""

    def on_wallet_charge_requested(incoming: Incoming, now: datetime) -> Task:
        request = cast("WalletChargeRequested", incoming.event)
        threshold = low_balance.get(request.amount.currency)
        return Task(wallet_stream(request), ChargeWallet(request, threshold, now))

    handlers: dict[type[Event], Handler] = {
        model: on_fact for model, topic in EVENTS if topic is ORDERS
    }
    handlers |= {
        WalletToppedUp: on_wallet_topped_up,
        SurplusCredited: on_wallet_topped_up,
        BonusGranted: on_bonus_granted,
        RefundCompleted: on_refund_completed,
        WalletChargeRequested: on_wallet_charge_requested,
    }
    return Processor(
        source=Source.LEDGER,
        group="ledger",
        output_topic=LEDGER.name,
        subscriptions=(Subscription(ORDERS.name, strict=True),),
        handlers=handlers,
        initial_state=initial_state,
        evolve=evolve,
        decide=decide,
        records_incoming=True,
        project=projection(rules),
        counters=COUNTERS,
    )

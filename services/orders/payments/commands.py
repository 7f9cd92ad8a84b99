"""What may be asked about payments. Each command brings the time; none brings a new id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from schemas.confirmations import PaymentConfirmed, RefundConfirmed
from schemas.ledger import WalletCharged, WalletChargeRefused
from services.orders.payments.gateways.gateway import (
    ChargeLookUp,
    ChargeOutcome,
    Found,
    RefundOutcome,
    TransactionLookUp,
)


@dataclass(frozen=True, slots=True)
class ConfirmPayment:
    """The customer says to have paid in the app."""

    confirmation: PaymentConfirmed
    now: datetime


@dataclass(frozen=True, slots=True)
class ConfirmRefund:
    """The shop's gateway says that it gave a payment back."""

    confirmation: RefundConfirmed
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordConfirmation:
    """The gateway answered about a confirmed transaction, which serves the stream `owner`, if any.

    `not_found_count` is that of earlier look-ups.
    """

    gateway: str
    gateway_txn_id: str
    answer: TransactionLookUp
    owner: str | None
    not_found_count: int
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class SettleConfirmation:
    """A person has seen to what a confirmation said: it counts for nothing any more."""

    gateway: str
    gateway_txn_id: str
    by: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class ExpireOrder:
    """Nobody confirmed the payment in time."""

    now: datetime


@dataclass(frozen=True, slots=True)
class RecordCharge:
    """The gateway answered, or did not answer, a charge; `attempt` counts from 1."""

    outcome: ChargeOutcome
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordLookUp:
    """The gateway answered a look-up; `not_found_count` is that of earlier look-ups."""

    outcome: ChargeLookUp
    not_found_count: int
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordAction:
    """The gateway answered about a charge that waits for the customer."""

    outcome: ChargeLookUp
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class CapturedElsewhere:
    """A person found the money at `gateway`, under its transaction id.

    `told` is what the gateway says of it, None when it cannot be asked.
    """

    gateway: str
    gateway_txn_id: str
    captured_at: datetime | None = None
    told: Found | None = None


@dataclass(frozen=True, slots=True)
class SettleUnknownPayment:
    """A person says how a charge ended whose outcome the gateway does not tell."""

    outcome: CapturedElsewhere | Literal["not_charged"]
    by: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class RefundedElsewhere:
    """A person found the money given back, or gave it back, under the gateway's reference."""

    gateway: str
    gateway_refund_ref: str
    refunded_at: datetime


@dataclass(frozen=True, slots=True)
class SettleRefund:
    """A person says what became of a refund."""

    payment_id: str
    outcome: RefundedElsewhere | Literal["not_refunded"]
    by: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class SettleExpiry:
    """An operator closes an unpaid order."""

    by: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordRefund:
    """The gateway answered, or did not answer, the refund of one payment."""

    payment_id: str
    outcome: RefundOutcome
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class ApplyWalletCharged:
    """The ledger took the price from the wallet."""

    charged: WalletCharged
    now: datetime


@dataclass(frozen=True, slots=True)
class ApplyWalletRefusal:
    """The ledger took nothing from the wallet."""

    refused: WalletChargeRefused
    now: datetime

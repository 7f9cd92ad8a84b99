"""What is known about one order, as named states. PURE; `evolution` folds events into them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.money import Money
from schemas.orders import Consideration, Quote
from schemas.requests import PaymentMethod, PaymentMode


@dataclass(frozen=True, slots=True)
class Payable:
    """Who pays how much for which order; exactly one of the order ids is set."""

    account_id: str
    renewal_id: str | None
    topup_id: str | None
    payment_id: str
    method: PaymentMethod
    mode: PaymentMode
    amount: Money
    digest: str
    accepted_at: datetime

    @property
    def stream_id(self) -> str:
        """Return the stream of the order, which is also the key its effects are held under."""
        return f"order/{self.renewal_id}" if self.renewal_id else f"topup/{self.topup_id}"


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in for an order."""

    payment_id: str
    gateway: str
    gateway_txn_id: str
    method: PaymentMethod
    amount: Money
    consideration: Consideration
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class AwaitingCharge:
    """The gateway was asked; `unknown_since` is set when it did not say whether it charged."""

    unknown_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AwaitingConfirmation:
    """The customer is to pay in the app."""


@dataclass(frozen=True, slots=True)
class AwaitingWallet:
    """The ledger was asked."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody paid in time."""


@dataclass(frozen=True, slots=True)
class NotPaid:
    """The payment failed."""


@dataclass(frozen=True, slots=True)
class AwaitingActivation:
    """Paid; the provider is being asked."""

    payment: Payment
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class Active:
    """The plan works."""


@dataclass(frozen=True, slots=True)
class NotActivated:
    """The plan will never work; the payment is owed back or was given back."""


@dataclass(frozen=True, slots=True)
class Credited:
    """The top-up is in the wallet."""


AwaitingPayment = AwaitingCharge | AwaitingConfirmation | AwaitingWallet
RenewalStage = AwaitingPayment | Expired | NotPaid | AwaitingActivation | Active | NotActivated
TopUpStage = AwaitingCharge | AwaitingConfirmation | Expired | NotPaid | Credited


@dataclass(frozen=True, slots=True)
class NewOrder:
    """Nothing happened yet."""


@dataclass(frozen=True, slots=True)
class RefusedOrder:
    """The request was refused; its id is used up."""

    account_id: str
    digest: str
    refused_digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """An accepted renewal; `owed` are captured payments that are not yet given back.

    `not_refundable` are the ids of those that their gateway does not give back.
    """

    payable: Payable
    quote: Quote
    plan_title: dict[str, str]
    esim_hash: str
    stage: RenewalStage
    payments: tuple[Payment, ...] = ()
    owed: tuple[Payment, ...] = ()
    not_refundable: frozenset[str] = frozenset()
    refused_digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopUp:
    """An accepted top-up and the bonus it was promised."""

    payable: Payable
    bonus: Money
    rule_id: str
    rule_version: str
    stage: TopUpStage
    payments: tuple[Payment, ...] = ()
    refused_digests: tuple[str, ...] = ()


OrderState = NewOrder | RefusedOrder | Renewal | TopUp

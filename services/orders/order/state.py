"""What is known about one order, as named states. PURE; `evolution` folds events into them.

Payments are in persistent maps: an order that is paid thousands of times folds in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from rpds import HashTrieMap, HashTrieSet

from schemas.money import Money
from schemas.orders import Consideration, Quote
from schemas.requests import PaymentMethod, PaymentMode
from schemas.surplus import SurplusReason
from services.orders.order.order_id import OrderId


@dataclass(frozen=True, slots=True)
class Payable:
    """Who pays how much for which order.

    `gateway` charges it, and None is the only one that there was once. Whatever the rules say later,
    everything about the charge goes there.
    """

    account_id: str
    order: OrderId
    payment_id: str
    method: PaymentMethod
    mode: PaymentMode
    amount: Money
    digest: str
    accepted_at: datetime
    gateway: str | None = None

    @property
    def stream_id(self) -> str:
        """Return the stream of the order, which is also the key its effects are held under."""
        return self.order.stream_id


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A confirmed payment; `kept` when the gateway cannot be asked and an operator must decide."""

    gateway: str
    gateway_txn_id: str
    method: PaymentMethod
    claimed: Money
    claimed_fee: Money | None
    confirmed_at: datetime
    received_at: datetime
    kept: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.gateway, self.gateway_txn_id


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in for an order; `unverified` money has no gateway that can be asked.

    `external` money was taken by the shop's own gateway, which alone can give it back. `surplus` is
    why the order does not take it, None for the money that it was to be paid with.
    """

    payment_id: str
    gateway: str
    gateway_txn_id: str
    method: PaymentMethod
    amount: Money
    consideration: Consideration
    captured_at: datetime
    unverified: bool = False
    external: bool = False
    surplus: SurplusReason | None = None


def untaxed(amount: Money, jurisdiction: str) -> Consideration:
    """Return what money consists of that buys nothing, or credit, and so bears no tax."""
    zero = Money.zero(amount.currency)
    return Consideration(net=amount, tax=zero, tax_jurisdiction=jurisdiction, bonus=zero)


@dataclass(frozen=True, slots=True)
class External:
    """What the shop's own gateway took, and the reference of its refund: "" where a person said so.

    None is what did not go back: it bought what was ordered.
    """

    amount: Money
    returned: str | None


def external_of(payment: Payment, returned: Mapping[str, str]) -> External | None:
    """Return what the shop alone can give back; `returned` has references of refunds by payment."""
    return External(payment.amount, returned.get(payment.payment_id)) if payment.external else None


NONE_OWED: Final[HashTrieMap[str, Payment]] = HashTrieMap()
_NONE_RETURNED: Final[HashTrieMap[str, str]] = HashTrieMap()
_NO_TRANSACTIONS: Final[HashTrieMap[tuple[str, str], Payment]] = HashTrieMap()
_NO_IDS: Final[HashTrieSet[str]] = HashTrieSet()


@dataclass(frozen=True, slots=True)
class Payments:
    """All money that came in, by its id and by its transaction."""

    _by_id: HashTrieMap[str, Payment] = NONE_OWED
    _by_transaction: HashTrieMap[tuple[str, str], Payment] = _NO_TRANSACTIONS
    next_attempt: int = 1
    """The number of the next payment that the order is asked for: a surplus is none."""

    def __len__(self) -> int:
        return len(self._by_transaction)

    def get(self, payment_id: str) -> Payment | None:
        """Return the payment of an id."""
        return self._by_id.get(payment_id)

    def by_transaction(self, gateway: str, gateway_txn_id: str) -> Payment | None:
        """Return the payment that a transaction brought."""
        return self._by_transaction.get((gateway, gateway_txn_id))

    def __iter__(self) -> Iterator[Payment]:
        """Go through all of them, in no order."""
        return iter(self._by_transaction.values())

    def added(self, payment: Payment) -> Payments:
        transaction = payment.gateway, payment.gateway_txn_id
        return Payments(
            self._by_id.insert(payment.payment_id, payment),
            self._by_transaction.insert(transaction, payment),
            self.next_attempt + (payment.surplus is None),
        )


_UNPAID: Final = Payments()


@dataclass(frozen=True, slots=True)
class AwaitingCharge:
    """The gateway was asked; `unknown_since` is set when it did not say whether it charged."""

    unknown_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AwaitingAction:
    """The customer has to agree at the gateway, until `pay_by`."""

    gateway: str
    gateway_txn_id: str
    pay_by: datetime


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


AwaitingPayment = AwaitingCharge | AwaitingAction | AwaitingConfirmation | AwaitingWallet
RenewalStage = AwaitingPayment | Expired | NotPaid | AwaitingActivation | Active | NotActivated
TopUpStage = AwaitingCharge | AwaitingAction | AwaitingConfirmation | Expired | NotPaid | Credited


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
class ArchivedOrder:
    """The order was over long ago and its events are in files; its id is used up.

    `transactions` are those of gateways by which money came in, with what is `external` of it.
    """

    account_id: str
    digest: str
    refused_digests: tuple[str, ...] = ()
    transactions: Mapping[tuple[str, str], External | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renewal:
    """An accepted renewal; `owed` are captured payments that are not yet given back, by their ids.

    `returned` has the references of the refunds of those that were; "" where a person said so.
    `not_refundable` are the ids of those that their gateway does not give back. `confirmations` are
    those that are not answered yet.
    """

    payable: Payable
    quote: Quote
    plan_title: dict[str, str]
    esim_hash: str
    stage: RenewalStage
    payments: Payments = _UNPAID
    owed: HashTrieMap[str, Payment] = NONE_OWED
    returned: HashTrieMap[str, str] = _NONE_RETURNED
    not_refundable: HashTrieSet[str] = _NO_IDS
    confirmations: tuple[Confirmation, ...] = ()
    refused_digests: tuple[str, ...] = ()
    time_zone: str | None = None
    """Whose calendar days the plan is valid for; None: periods of 24 hours."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """An accepted top-up and the bonus it was promised."""

    payable: Payable
    bonus: Money
    rule_id: str
    rule_version: str
    stage: TopUpStage
    payments: Payments = _UNPAID
    confirmations: tuple[Confirmation, ...] = ()
    refused_digests: tuple[str, ...] = ()


OrderState = NewOrder | RefusedOrder | ArchivedOrder | Renewal | TopUp
Order = Renewal | TopUp
"""An order that was accepted."""

"""What gateways say of payments and refunds, and what orders makes of it and asks of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from schemas.envelope import Event, HappenedAt, Identifier, ShortText, UtcDatetime
from schemas.money import Money
from schemas.requests import OfOneOrder, PaymentMethod


class ConfirmationRefusal(StrEnum):
    """Why a confirmation counts for nothing.

    After `amount_differs` and `order_not_waiting` a person must see what became of the money.
    """

    UNKNOWN_TRANSACTION = "unknown_transaction"
    ANOTHER_REFERENCE = "another_reference"
    ALREADY_USED = "already_used"
    NOT_CAPTURED = "not_captured"
    NOT_CHECKABLE = "not_checkable"
    AMOUNT_DIFFERS = "amount_differs"
    ORDER_NOT_WAITING = "order_not_waiting"
    SETTLED = "settled"


class PaymentConfirmed(OfOneOrder):
    """The customer paid an `await_confirmation` order in the app; exactly one of the ids is set."""

    method: PaymentMethod
    gateway: Identifier
    gateway_txn_id: Identifier
    amount: Money
    fee: Money | None = None
    confirmed_at: HappenedAt


class PaymentConfirmationReceived(OfOneOrder):
    """A gateway's side says that the customer paid; the gateway is being asked.

    PaymentCaptured or PaymentConfirmationRefused follows; until then the order does not expire.
    """

    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    claimed: Money
    claimed_fee: Money | None = None
    confirmed_at: UtcDatetime
    received_at: UtcDatetime


class PaymentConfirmationRefused(OfOneOrder):
    """The gateway does not hold this money for this order: nothing was captured or given back.

    `settled_by` and `settlement_reason` are set when a person closed the question.
    """

    gateway: Identifier
    gateway_txn_id: Identifier
    reason: ConfirmationRefusal
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    refused_at: UtcDatetime


PayLink = Annotated[str, StringConstraints(pattern=r"^https://[!-~]+$", max_length=2_000)]
"""A page of the gateway on which the customer agrees to a payment."""


class PaymentActionRequired(OfOneOrder):
    """The customer has to agree at the gateway before it charges: show `pay_link` until `pay_by`.

    Nothing is charged yet. PaymentCaptured, PaymentFailed or, after `pay_by`, OrderExpired follows.
    """

    payment_id: Identifier
    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    amount: Money
    pay_link: PayLink
    pay_by: UtcDatetime
    required_at: UtcDatetime


class RefundInstructed(Event):
    """We owe money that the shop's own gateway took: the shop is to give it back there, in full.

    We cannot: no gateway that we charge through took it. RefundConfirmed says that it is done;
    RefundCompleted, or SurplusReturned for a surplus, follows.
    """

    renewal_id: Identifier
    refund_id: Identifier
    payment_id: Identifier
    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    amount: Money
    instructed_at: UtcDatetime


class RefundConfirmed(Event):
    """The shop's gateway gave a payment back, as RefundInstructed asked.

    `gateway` and `gateway_txn_id` name the payment, `gateway_refund_ref` its refund there.
    """

    renewal_id: Identifier
    gateway: Identifier
    gateway_txn_id: Identifier
    gateway_refund_ref: Identifier
    amount: Money
    refunded_at: HappenedAt


class RefundFailed(Event):
    """A person found that the gateway does not give the money back: it stays owed.

    It is not asked for again. RefundCompleted follows once somebody gave it back another way.
    """

    renewal_id: Identifier
    refund_id: Identifier
    payment_id: Identifier
    settled_by: Identifier
    settlement_reason: ShortText
    failed_at: UtcDatetime

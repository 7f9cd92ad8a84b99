"""Money beside what an order costs: facts of its own, that neither begin nor end the order."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from schemas.envelope import Event, Identifier, ShortText, UtcDatetime
from schemas.money import Money, Moves
from schemas.requests import OfOneOrder, PaymentMethod


class SurplusReason(StrEnum):
    """Why an order does not take the money that came in for it."""

    PAID_TWICE = "paid_twice"
    PAID_ANOTHER_WAY = "paid_another_way"
    ORDER_EXPIRED = "order_expired"
    PAYMENT_FAILED = "payment_failed"


class SurplusCaptured(OfOneOrder):
    """Money came in that the order does not take: it goes on, or stays ended, as if none had come.

    A renewal's is owed to the customer, and SurplusReturned follows; a top-up's is credited at
    once by SurplusCredited. No tax is due on it. `paid_another_way`: the order is being charged.
    `unverified` and `external` are set as in PaymentCaptured.
    """

    payment_id: Identifier
    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    amount: Annotated[Money, Moves()]
    fee: Annotated[Money | None, Moves()] = None
    reason: SurplusReason
    unverified: Literal[True] | None = None
    external: Literal[True] | None = None
    captured_at: UtcDatetime


class SurplusReturned(Event):
    """A surplus went back the way it came.

    `settled_by` and `settlement_reason` are set when a person found or made the refund.
    """

    renewal_id: Identifier
    refund_id: Identifier
    payment_id: Identifier
    gateway: Identifier
    gateway_refund_ref: Identifier
    method: PaymentMethod
    amount: Annotated[Money, Moves()]
    reason: SurplusReason
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    returned_at: UtcDatetime


class SurplusReturnFailed(Event):
    """A person found that the gateway does not give a surplus back: it stays owed.

    It is not asked for again. SurplusReturned follows once somebody gave it back another way.
    """

    renewal_id: Identifier
    refund_id: Identifier
    payment_id: Identifier
    settled_by: Identifier
    settlement_reason: ShortText
    failed_at: UtcDatetime


class SurplusCredited(Event):
    """The surplus of a top-up entered the wallet as a lot of paid credit.

    `gateway` took the money; events from before it was stated have none.
    """

    topup_id: Identifier
    payment_id: Identifier
    lot_id: Identifier
    gateway: Identifier | None = None
    method: PaymentMethod
    amount: Annotated[Money, Moves()]
    reason: SurplusReason
    expires_at: UtcDatetime | None = None
    rule_id: Identifier
    rule_version: Identifier
    credited_at: UtcDatetime

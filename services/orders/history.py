"""What a customer ordered, paid and got back, from the events of an account. PURE.

The billing history that a customer is shown: a row for each order, each payment that an order did
not take, and each sum that goes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from schemas.confirmations import PaymentActionRequired, RefundFailed, RefundInstructed
from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import (
    ActivationDelayed,
    ActivationFailed,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeUnknown,
    PlanActivated,
    RefundCompleted,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    WalletToppedUp,
)
from schemas.surplus import (
    SurplusCaptured,
    SurplusCredited,
    SurplusReturned,
    SurplusReturnFailed,
)


class Kind(StrEnum):
    """What a row is about."""

    RENEWAL = "renewal"
    TOP_UP = "top_up"
    SURPLUS = "surplus"
    """Money that came in and that the order did not take."""
    REFUND = "refund"


class Status(StrEnum):
    """How it stands."""

    REJECTED = "rejected"
    AWAITING_PAYMENT = "awaiting_payment"
    AWAITING_CUSTOMER = "awaiting_customer"
    PAYMENT_UNKNOWN = "payment_unknown"
    PAYMENT_FAILED = "payment_failed"
    EXPIRED = "expired"
    PAID = "paid"
    ACTIVATION_DELAYED = "activation_delayed"
    ACTIVATION_FAILED = "activation_failed"
    ACTIVE = "active"
    CREDITED = "credited"
    OWED = "owed"
    ASKED_OF_SHOP = "asked_of_shop"
    RETURNED = "returned"
    NOT_RETURNED = "not_returned"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `amount` is what it costs or what goes back; `reason` is why, where it did not work.

    `receipt` is the number of the receipt that the customer has of it: the order's id, or that of
    the refund. `reference` is the transaction at the gateway.
    """

    at: datetime
    kind: Kind
    order_id: str
    status: Status
    amount: Money | None = None
    method: str | None = None
    what: str | None = None
    reason: str | None = None
    reference: str | None = None
    receipt: str | None = None


def history(events: Iterable[tuple[str, Event]]) -> list[Entry]:
    """Return the rows of an account, by time.

    `events` are all that orders recorded of the account, with the ids of their streams, in the
    order of the log.
    """
    entries: dict[tuple[str, str], Entry] = {}
    for stream_id, event in events:
        _follow(entries, stream_id, event)
    return sorted(entries.values(), key=lambda entry: (entry.at, entry.order_id))


def _follow(entries: dict[tuple[str, str], Entry], stream_id: str, event: Event) -> None:
    order, opened = (stream_id, ""), _opened(event)
    if opened is not None:
        entries[order] = opened
    elif (other := _beside(entries, stream_id, event)) is not None:
        key, entry = other
        entries[key] = entry
        if isinstance(event, SurplusReturned):
            surplus = stream_id, f"surplus/{event.payment_id}"
            if surplus in entries:
                entries[surplus] = replace(entries[surplus], status=Status.RETURNED)
    elif order in entries:
        entries[order] = _changed(entries[order], event)


def _opened(event: Event) -> Entry | None:
    """Return the row of a new order."""
    match event:
        case RenewalAccepted(quote=quote):
            return Entry(
                event.accepted_at,
                Kind.RENEWAL,
                event.renewal_id,
                Status.AWAITING_PAYMENT,
                quote.total,
                event.payment_method,
                f"{quote.quantity} x {quote.plan_code}",
            )
        case TopUpAccepted():
            at, method = event.accepted_at, event.payment_method
            waits = Status.AWAITING_PAYMENT
            return Entry(at, Kind.TOP_UP, event.topup_id, waits, event.amount, method)
        case RenewalRejected():
            refused, at = Status.REJECTED, event.rejected_at
            return Entry(at, Kind.RENEWAL, event.renewal_id, refused, reason=event.reason)
        case TopUpRejected():
            refused, at = Status.REJECTED, event.rejected_at
            return Entry(at, Kind.TOP_UP, event.topup_id, refused, reason=event.reason)
        case _:
            return None


def _changed(entry: Entry, event: Event) -> Entry:
    """Return the row of an order after one of its events."""
    match event:
        case PaymentOutcomeUnknown():
            return replace(entry, status=Status.PAYMENT_UNKNOWN)
        case PaymentActionRequired():
            return replace(entry, status=Status.AWAITING_CUSTOMER)
        case PaymentCaptured():
            paid = replace(entry, status=Status.PAID, amount=event.amount, method=event.method)
            return replace(paid, reference=event.gateway_txn_id)
        case PaymentFailed():
            return replace(entry, status=Status.PAYMENT_FAILED, reason=event.reason)
        case OrderExpired():
            return replace(entry, status=Status.EXPIRED)
        case ActivationDelayed():
            return replace(entry, status=Status.ACTIVATION_DELAYED)
        case ActivationFailed():
            return replace(entry, status=Status.ACTIVATION_FAILED, reason=event.reason)
        case PlanActivated():
            return replace(entry, status=Status.ACTIVE, receipt=entry.order_id)
        case WalletToppedUp():
            return replace(entry, status=Status.CREDITED, receipt=entry.order_id)
        case _:
            return entry


def _beside(
    entries: dict[tuple[str, str], Entry], stream_id: str, event: Event
) -> tuple[tuple[str, str], Entry] | None:
    """Return the row of a surplus or of a refund that the event is about, and its key."""
    match event:
        case SurplusCaptured():
            owed, at = Status.OWED, event.captured_at
            entry = Entry(at, Kind.SURPLUS, _order(stream_id), owed, event.amount, event.method)
            entry = replace(entry, reason=event.reason, reference=event.gateway_txn_id)
            return (stream_id, f"surplus/{event.payment_id}"), entry
        case SurplusCredited():
            key = stream_id, f"surplus/{event.payment_id}"
            if key not in entries:
                return None
            credited = replace(entries[key], status=Status.CREDITED, receipt=event.payment_id)
            return key, credited
        case RefundInstructed():
            asked, at = Status.ASKED_OF_SHOP, event.instructed_at
            entry = Entry(at, Kind.REFUND, event.renewal_id, asked, event.amount, event.method)
            return (stream_id, event.refund_id), entry
        case RefundCompleted(completed_at=at) | SurplusReturned(returned_at=at):
            back, reference = Status.RETURNED, event.gateway_refund_ref
            entry = Entry(at, Kind.REFUND, event.renewal_id, back, event.amount, event.method)
            entry = replace(entry, reference=reference, receipt=event.refund_id)
            return (stream_id, event.refund_id), entry
        case RefundFailed() | SurplusReturnFailed():
            key = stream_id, event.refund_id
            kept = Entry(event.failed_at, Kind.REFUND, event.renewal_id, Status.NOT_RETURNED)
            kept = replace(entries.get(key, kept), status=Status.NOT_RETURNED)
            return key, replace(kept, reason=event.settlement_reason)
        case _:
            return None


def _order(stream_id: str) -> str:
    return stream_id.partition("/")[2]

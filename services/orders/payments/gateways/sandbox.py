"""A payment gateway without money: the token decides what happens, the journal keeps what did."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from schemas.envelope import Identifier, Part, UtcDatetime, name_based_uuid, utc_text
from schemas.money import Money
from schemas.orders import DeclineReason, UnknownCause
from schemas.requests import PaymentMethod
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    ChargeReference,
    Declined,
    Found,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    Refund,
    Refunded,
    RefundLookUp,
    RefundOutcome,
    TransactionLookUp,
    Unavailable,
)
from services.orders.sandbox_journal import Entry, Journal

GATEWAY: Final = "sandbox"
_NAMESPACE: Final = UUID("0d4f7c2e-6c4b-5a0e-8f59-30a4b8f1a903")

TOKENS: Final[dict[str, str]] = {
    "tok_ok": "charged",
    "tok_insufficient_funds": "declined: insufficient_funds",
    "tok_bank_limit": "declined: bank_limit",
    "tok_network": "declined: network_interruption",
    "tok_risk_declined": "declined: risk_declined",
    "tok_authentication_required": "declined: authentication_required",
    "tok_expired": "declined: expired",
    "tok_cancelled": "declined: cancelled_by_customer",
    "tok_unknown": "declined: unknown",
    "tok_slow": "charged, answered slowly",
    "tok_duplicate": "asked twice at once, charged once",
    "tok_timeout_before": "never charged, no answer",
    "tok_timeout_after": "charged, no answer",
    "tok_timeout_declined": "declined: insufficient_funds, no answer",
    "tok_error_after": "charged, answered with an error",
    "tok_down_N": "unavailable for the first N calls (1 to 99), then charged",
    "tok_refund_down": "charged; its refund is unavailable for the first 2 calls",
    "tok_refund_lost": "charged; its refund is made, no answer",
}
"""What each token makes the gateway do; any other token is declined as `unknown`."""

TRANSACTIONS: Final[dict[str, str]] = {
    "-down-N": "unavailable for the first N look-ups (1 to 99)",
    "-late-N": "not found for the first N look-ups (1 to 99)",
    "-pending-N": "pending for the first N look-ups (1 to 99)",
    "-cancelled": "held, but never captured",
}
"""What the ending of a `gateway_txn_id` makes of its look-ups; with any other it is as it was paid."""
NO_LOOK_UP: Final = "silent"
"""A gateway whose name begins so cannot be asked about transactions."""

_DECLINES: Final = {
    "tok_insufficient_funds": DeclineReason.INSUFFICIENT_FUNDS,
    "tok_bank_limit": DeclineReason.BANK_LIMIT,
    "tok_network": DeclineReason.NETWORK_INTERRUPTION,
    "tok_risk_declined": DeclineReason.RISK_DECLINED,
    "tok_authentication_required": DeclineReason.AUTHENTICATION_REQUIRED,
    "tok_expired": DeclineReason.EXPIRED,
    "tok_cancelled": DeclineReason.CANCELLED_BY_CUSTOMER,
    "tok_timeout_declined": DeclineReason.INSUFFICIENT_FUNDS,
}
_CHARGED: Final = frozenset(
    {
        "tok_ok",
        "tok_slow",
        "tok_duplicate",
        "tok_timeout_after",
        "tok_error_after",
        "tok_refund_down",
        "tok_refund_lost",
    }
)
_LOST: Final = frozenset({"tok_timeout_before", "tok_timeout_after", "tok_timeout_declined"})
_DOWN: Final = re.compile(r"^tok_down_([1-9][0-9]?)$")
_AT_FIRST: Final = re.compile(r"-(down|late|pending)-([1-9][0-9]?)$")
_REFUND_DOWN_CALLS: Final = 2
_FEE_PER_MILLE: Final = {
    PaymentMethod.CARD: 29,
    PaymentMethod.PAYPAL: 34,
    PaymentMethod.ALIPAY: 6,
    PaymentMethod.WECHAT: 6,
    PaymentMethod.WALLET: 0,
}


class CustomerPayment(Part):
    """What a customer pays in the app, under the merchant reference `reference`."""

    gateway: Identifier
    gateway_txn_id: Identifier
    reference: Annotated[str, Field(max_length=256)]
    method: PaymentMethod
    amount: Money
    fee_minor: int = Field(default=0, ge=0)
    paid_at: UtcDatetime | None = None


@dataclass(frozen=True, slots=True)
class SandboxGateway:
    """`PaymentGateway` in this process. A lost answer takes `timeout_seconds` to become unknown."""

    journal: Journal
    clock: Callable[[], datetime]
    timeout_seconds: float
    slow_seconds: float

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Do what the token says, once per `payment_id`."""
        script = charge.token
        with self.journal.locked():
            outcome = self._charge(charge)
            if script == "tok_duplicate":
                outcome = self._charge(charge)
        if script == "tok_slow":
            await asyncio.sleep(self.slow_seconds)
        if script in _LOST:
            await asyncio.sleep(self.timeout_seconds)
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        if script == "tok_error_after":
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        return outcome

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Say what became of a charge."""
        with self.journal.locked():
            return self._known(reference.payment_id) or NotFound()

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Say what is known of a transaction: a customer's own, or one of our charges."""
        if gateway.startswith(NO_LOOK_UP):
            return NotSupported()
        key = f"{gateway}/{gateway_txn_id}"
        with self.journal.locked():
            status = "not_captured" if gateway_txn_id.endswith("-cancelled") else "captured"
            script = _AT_FIRST.search(gateway_txn_id)
            if script and self.journal.count("look_up", key) < int(script[2]):
                self.journal.append("look_up", key, at=utc_text(self.clock()))
                status = script[1]
            held = self._held(gateway, gateway_txn_id)
        if status == "down":
            return Unavailable()
        if held is None or status == "late":
            return NotFound()
        return Found.model_validate(
            {
                "gateway": gateway,
                "gateway_txn_id": gateway_txn_id,
                "reference": held.get("reference", held["key"]),
                "status": status,
                "amount": _money(held, "amount_minor"),
                "method": PaymentMethod(held["method"]),
                "fee": _money(held, "fee_minor"),
                "captured_at": datetime.fromisoformat(held["at"]),
            }
        )

    def pay(self, payment: CustomerPayment) -> None:
        """Take what a customer pays in the app, once per transaction."""
        key = f"{payment.gateway}/{payment.gateway_txn_id}"
        with self.journal.locked():
            if self.journal.first("payment", key) is None:
                self.journal.append(
                    "payment",
                    key,
                    txn=payment.gateway_txn_id,
                    reference=payment.reference,
                    method=payment.method.value,
                    amount_minor=payment.amount.amount_minor,
                    currency=payment.amount.currency,
                    fee_minor=payment.fee_minor,
                    at=utc_text(payment.paid_at or self.clock()),
                )

    def _held(self, gateway: str, gateway_txn_id: str) -> Entry | None:
        paid = self.journal.first("payment", f"{gateway}/{gateway_txn_id}")
        if paid is None and gateway == GATEWAY:
            charges = self.journal.all("charge")
            return next((each for each in charges if each["txn"] == gateway_txn_id), None)
        return paid

    def _may_give_back(self, refund: Refund) -> bool:
        """Say whether the gateway holds as much as it is to give back, of this transaction."""
        paid = self.journal.first("charge", refund.payment_id)
        if paid is None or paid["txn"] != refund.gateway_txn_id:
            paid = self._held(refund.gateway, refund.gateway_txn_id)
        return (
            paid is not None
            and paid["currency"] == refund.amount.currency
            and paid["amount_minor"] >= refund.amount.amount_minor
        )

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Give the money back, once per `refund_id`, and never more than is held of it."""
        with self.journal.locked():
            if not self._may_give_back(refund):
                return Unavailable()
            paid = self.journal.first("charge", refund.payment_id)
            script = paid["token"] if paid else "tok_ok"
            calls = self.journal.count("unavailable", refund.refund_id)
            if script == "tok_refund_down" and calls < _REFUND_DOWN_CALLS:
                self.journal.append("unavailable", refund.refund_id, at=utc_text(self.clock()))
                return Unavailable()
            entry = self.journal.first("refund", refund.refund_id) or self._give_back(refund)
        if script == "tok_refund_lost":
            await asyncio.sleep(self.timeout_seconds)
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        return _refunded(entry)

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Say what became of a refund."""
        return self.known_refund(refund.refund_id)

    def known_refund(self, refund_id: str) -> Refunded | NotFound:
        """Return what went back under a key."""
        with self.journal.locked():
            entry = self.journal.first("refund", refund_id)
        return _refunded(entry) if entry else NotFound()

    def _charge(self, charge: Charge) -> Captured | Declined | Unavailable:
        """Decide and journal one call; `timeout_before` leaves no trace."""
        if known := self._known(charge.payment_id):
            return known
        script, key = charge.token, charge.payment_id
        if script == "tok_timeout_before":
            return Unavailable()
        if down := _DOWN.match(script):
            if self.journal.count("unavailable", key) < int(down.group(1)):
                self.journal.append("unavailable", key, at=utc_text(self.clock()))
                return Unavailable()
        elif script not in _CHARGED:
            reason = _DECLINES.get(script, DeclineReason.UNKNOWN)
            self.journal.append("decline", key, reason=reason.value)
            return Declined(reason=reason)
        return _captured(self._take_money(charge))

    def _known(self, payment_id: str) -> Captured | Declined | None:
        if charged := self.journal.first("charge", payment_id):
            return _captured(charged)
        if declined := self.journal.first("decline", payment_id):
            return Declined(reason=DeclineReason(declined["reason"]))
        return None

    def _take_money(self, charge: Charge) -> Entry:
        amount_minor = charge.amount.amount_minor
        return self.journal.append(
            "charge",
            charge.payment_id,
            txn=_reference("charge", charge.payment_id),
            token=charge.token,
            method=charge.method.value,
            amount_minor=amount_minor,
            currency=charge.amount.currency,
            fee_minor=amount_minor * _FEE_PER_MILLE[charge.method] // 1000,
            at=utc_text(self.clock()),
        )

    def _give_back(self, refund: Refund) -> Entry:
        return self.journal.append(
            "refund",
            refund.refund_id,
            ref=_reference("refund", refund.refund_id),
            gateway=refund.gateway,
            txn=refund.gateway_txn_id,
            amount_minor=refund.amount.amount_minor,
            currency=refund.amount.currency,
            at=utc_text(self.clock()),
        )


def _reference(kind: str, key: str) -> str:
    return f"sbx_{name_based_uuid(_NAMESPACE, f'{kind}/{key}').hex}"[:28]


def _money(entry: Entry, name: str) -> Money:
    return Money(amount_minor=entry[name], currency=entry["currency"])


def _captured(entry: Entry) -> Captured:
    return Captured(
        gateway=GATEWAY,
        gateway_txn_id=entry["txn"],
        amount=_money(entry, "amount_minor"),
        fee=_money(entry, "fee_minor"),
        captured_at=datetime.fromisoformat(entry["at"]),
    )


def _refunded(entry: Entry) -> Refunded:
    return Refunded(
        gateway=entry["gateway"],
        gateway_refund_ref=entry["ref"],
        refunded_at=datetime.fromisoformat(entry["at"]),
    )

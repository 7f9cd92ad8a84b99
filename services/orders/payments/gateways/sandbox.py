"""A payment gateway without money: the token decides what happens, the journal keeps what did."""

from __future__ import annotations

import asyncio
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
    ActionRequired,
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
from services.orders.payments.gateways.sandbox_script import (
    ACTION,
    AT_FIRST,
    CHARGED,
    DECLINES,
    DOWN,
    FEE_PER_MILLE,
    LOST,
    NO_LOOK_UP,
    REFUND_DOWN_CALLS,
)
from services.orders.sandbox_journal import Entry, SandboxJournal

GATEWAY: Final = "sandbox"
_NAMESPACE: Final = UUID("0d4f7c2e-6c4b-5a0e-8f59-30a4b8f1a903")


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

    journal: SandboxJournal
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
        if script in LOST:
            await asyncio.sleep(self.timeout_seconds)
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        if script == "tok_error_after":
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        return outcome

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Say what became of a charge; the customer may have agreed meanwhile."""
        with self.journal.locked():
            self._let_agree(reference.payment_id)
            return self._known(reference.payment_id) or NotFound()

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """End a charge that the customer has not agreed to."""
        with self.journal.locked():
            known = self._known(reference.payment_id)
            if not isinstance(known, ActionRequired):
                return known or NotFound()
            reason = DeclineReason.EXPIRED
            self.journal.append("decline", reference.payment_id, reason=reason.value)
            return Declined(reason=reason)

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Say what is known of a transaction: a customer's own, or one of our charges."""
        if gateway.startswith(NO_LOOK_UP):
            return NotSupported()
        key = f"{gateway}/{gateway_txn_id}"
        with self.journal.locked():
            status = "not_captured" if gateway_txn_id.endswith("-cancelled") else "captured"
            script = AT_FIRST.search(gateway_txn_id)
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
            if script == "tok_refund_down" and calls < REFUND_DOWN_CALLS:
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

    def _charge(self, charge: Charge) -> Captured | ActionRequired | Declined | Unavailable:
        """Decide and journal one call; `timeout_before` leaves no trace."""
        if known := self._known(charge.payment_id):
            return known
        script, key = charge.token, charge.payment_id
        if script == "tok_timeout_before":
            return Unavailable()
        if down := DOWN.match(script):
            if self.journal.count("unavailable", key) < int(down.group(1)):
                self.journal.append("unavailable", key, at=utc_text(self.clock()))
                return Unavailable()
        elif ACTION.match(script):
            self._ask_customer(charge)
            return _action_required(key)
        elif script not in CHARGED:
            reason = DECLINES.get(script, DeclineReason.UNKNOWN)
            self.journal.append("decline", key, reason=reason.value)
            return Declined(reason=reason)
        return _captured(self._take_money(charge))

    def _known(self, payment_id: str) -> Captured | ActionRequired | Declined | None:
        if charged := self.journal.first("charge", payment_id):
            return _captured(charged)
        if declined := self.journal.first("decline", payment_id):
            return Declined(reason=DeclineReason(declined["reason"]))
        return _action_required(payment_id) if self.journal.first("action", payment_id) else None

    def _ask_customer(self, charge: Charge) -> None:
        self.journal.append(
            "action",
            charge.payment_id,
            token=charge.token,
            method=charge.method.value,
            amount_minor=charge.amount.amount_minor,
            currency=charge.amount.currency,
        )

    def _let_agree(self, payment_id: str) -> None:
        """Count a look-up of a charge that waits for the customer, who agrees when it is time."""
        if not isinstance(self._known(payment_id), ActionRequired):
            return
        self.journal.append("action_look_up", payment_id)
        asked = self.journal.first("action", payment_id) or {}
        script = ACTION.match(asked["token"])
        enough = script[1] if script else None
        if enough and self.journal.count("action_look_up", payment_id) >= int(enough):
            self._take_money(
                Charge(
                    payment_id=payment_id,
                    token=asked["token"],
                    method=PaymentMethod(asked["method"]),
                    amount=_money(asked, "amount_minor"),
                )
            )

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
            fee_minor=amount_minor * FEE_PER_MILLE[charge.method] // 1000,
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


def _action_required(key: str) -> ActionRequired:
    transaction = _reference("charge", key)
    link = f"https://sandbox.example/agree/{transaction}"
    return ActionRequired(gateway=GATEWAY, gateway_txn_id=transaction, pay_link=link)


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

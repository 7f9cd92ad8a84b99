"""Does the effects of payments through the gateway, and says what came of them as a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from schemas.money import Money
from schemas.orders import UnknownCause
from schemas.requests import PaymentMethod
from services.orders.payments.claims.transactions import Claims
from services.orders.payments.commands import (
    ExpireOrder,
    RecordCharge,
    RecordConfirmation,
    RecordLookUp,
    RecordRefund,
)
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeOutcome,
    ChargeReference,
    Declined,
    Found,
    NotSupported,
    OutcomeUnknown,
    PaymentGateway,
    Refund,
    Refunded,
    RefundOutcome,
    TransactionLookUp,
    Unavailable,
)
from services.runtime.errors import Halt
from services.runtime.processor import EffectRun, JsonObject, Mark

OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class PaymentExecutors:
    """The effects of payments, over the gateway, the claims on transactions and a clock."""

    gateway: PaymentGateway
    claims: Claims
    trusted_gateways: frozenset[str]
    clock: Callable[[], datetime]

    async def charge(self, run: EffectRun, _mark: Mark) -> RecordCharge | RecordLookUp:
        """Charge once; a payload without a token is a look-up."""
        payload = run.payload
        if "token" not in payload:
            found = self._ours(await self.gateway.look_up_charge(_reference(payload)))
            count = payload["not_found_count"]
            return RecordLookUp(found, count, run.attempt, self.clock())
        charge = Charge(
            payment_id=payload["payment_id"],
            token=payload["token"],
            method=PaymentMethod(payload["method"]),
            amount=Money.model_validate(payload["amount"]),
            gateway=payload.get("gateway"),
        )
        charged = self._recover(charge, run) if run.recovered else self.gateway.charge(charge)
        outcome = await charged
        return RecordCharge(self._ours(outcome), run.attempt, self.clock())

    def _ours(self, outcome: OutcomeT) -> OutcomeT:
        """Refuse to go on where a gateway that charges is believed without being asked.

        Raises:
            Halt: what it charged for one order could be confirmed for another.
        """
        if isinstance(outcome, Captured) and outcome.gateway in self.trusted_gateways:
            message = (
                f"the gateway charges as {outcome.gateway}, which is in TRUST_CONFIRMATIONS_OF: "
                "take it out and start again; the charge is then looked up and recorded"
            )
            raise Halt(message)
        return outcome

    async def _recover(self, charge: Charge, run: EffectRun) -> ChargeOutcome:
        """Look before charging again under the same key; what stays unclear is looked up later."""
        found = await self.gateway.look_up_charge(_reference(run.payload))
        if isinstance(found, Captured | Declined):
            return found
        if isinstance(found, Unavailable):
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        outcome = await self.gateway.charge(charge)
        if isinstance(outcome, Unavailable):
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        return outcome

    async def refund(self, run: EffectRun, _mark: Mark) -> RecordRefund:
        """Give one payment back; from the second attempt on, look up first."""
        outcome = await self._refund(run)
        return RecordRefund(run.payload["payment_id"], outcome, run.attempt, self.clock())

    async def _refund(self, run: EffectRun) -> RefundOutcome:
        payload = run.payload
        refund = Refund.model_validate({**payload, "method": PaymentMethod(payload["method"])})
        if run.recovered or run.attempt > 1:
            found = await self.gateway.look_up_refund(refund)
            if isinstance(found, Refunded | Unavailable):
                return found
        return await self.gateway.refund(refund)

    async def confirm(self, run: EffectRun, _mark: Mark) -> RecordConfirmation:
        """Ask what the gateway holds; a transaction of this order is claimed before that counts."""
        payload = run.payload
        gateway, txn = payload["gateway"], payload["gateway_txn_id"]
        answer = await self.gateway.look_up_transaction(gateway, txn)
        owner = None
        if self._is_ours(answer, run):
            owner = await self.claims.claim(gateway, txn, run.stream_id)
        count = payload["not_found_count"]
        return RecordConfirmation(gateway, txn, answer, owner, count, run.attempt, self.clock())

    def _is_ours(self, answer: TransactionLookUp, run: EffectRun) -> bool:
        match answer:
            case Found():
                return answer.holds_money and answer.reference == run.stream_id
            case NotSupported():
                agreed: bool = run.payload["agreed"]
                return agreed and run.payload["gateway"] in self.trusted_gateways
            case _:
                return False

    async def expire(self, _run: EffectRun, _mark: Mark) -> ExpireOrder:
        """Say that the time has come."""
        return ExpireOrder(self.clock())


def _reference(payload: JsonObject) -> ChargeReference:
    named = {name: payload.get(name) for name in ("payment_id", "gateway", "since", "until")}
    return ChargeReference.model_validate(named)

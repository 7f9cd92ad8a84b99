"""Does the effects of orders through its ports, and says what came of them as a command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.money import Money
from schemas.orders import UnknownCause
from schemas.requests import PaymentMethod
from services.orders.commands import (
    ExpireOrder,
    RecordActivation,
    RecordCharge,
    RecordLookUp,
    RecordRefund,
)
from services.orders.effects import ACTIVATE, CHARGE, EXPIRE, REFUND
from services.orders.gateways.gateway import (
    Captured,
    Charge,
    ChargeOutcome,
    Declined,
    OutcomeUnknown,
    PaymentGateway,
    Refund,
    Refunded,
    RefundOutcome,
    Unavailable,
)
from services.orders.providers.provider import (
    ActivationOutcome,
    EsimProvider,
    PlanOrder,
)
from services.orders.providers.provider import NotFound as OrderNotFound
from services.runtime.processor import EffectRun, Executor, Mark


@dataclass(frozen=True, slots=True)
class Executors:
    """The four kinds of effects, over the two ports and a clock."""

    gateway: PaymentGateway
    provider: EsimProvider
    clock: Callable[[], datetime]

    async def charge(self, run: EffectRun, _mark: Mark) -> RecordCharge | RecordLookUp:
        """Charge once; a payload without a token is a look-up."""
        payload = run.payload
        if "token" not in payload:
            found = await self.gateway.look_up_charge(payload["payment_id"])
            count = payload["not_found_count"]
            return RecordLookUp(found, count, run.attempt, self.clock())
        charge = Charge(
            payment_id=payload["payment_id"],
            token=payload["token"],
            method=PaymentMethod(payload["method"]),
            amount=Money.model_validate(payload["amount"]),
        )
        outcome = await (self._recover(charge) if run.recovered else self.gateway.charge(charge))
        return RecordCharge(outcome, run.attempt, self.clock())

    async def _recover(self, charge: Charge) -> ChargeOutcome:
        """Look before charging again under the same key; what stays unclear is looked up later."""
        found = await self.gateway.look_up_charge(charge.payment_id)
        if isinstance(found, Captured | Declined):
            return found
        if isinstance(found, Unavailable):
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        outcome = await self.gateway.charge(charge)
        if isinstance(outcome, Unavailable):
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        return outcome

    async def activate(self, run: EffectRun, _mark: Mark) -> RecordActivation:
        """Activate once; a payload without an ICCID is the last look-up."""
        last = "iccid" not in run.payload
        outcome = await self._activate(run, last=last)
        return RecordActivation(outcome, run.attempt, last, self.clock())

    async def _activate(self, run: EffectRun, *, last: bool) -> ActivationOutcome | OrderNotFound:
        if last or run.recovered or run.attempt > 1:
            found = await self.provider.look_up(run.payload["reference"])
            if last or not isinstance(found, OrderNotFound):
                return found
        return await self.provider.top_up(PlanOrder.model_validate(run.payload))

    async def refund(self, run: EffectRun, _mark: Mark) -> RecordRefund:
        """Give one payment back; from the second attempt on, look up first."""
        outcome = await self._refund(run)
        return RecordRefund(run.payload["payment_id"], outcome, run.attempt, self.clock())

    async def _refund(self, run: EffectRun) -> RefundOutcome:
        payload = run.payload
        if run.recovered or run.attempt > 1:
            found = await self.gateway.look_up_refund(payload["refund_id"])
            if isinstance(found, Refunded | Unavailable):
                return found
        refund = Refund.model_validate({**payload, "method": PaymentMethod(payload["method"])})
        return await self.gateway.refund(refund)

    async def expire(self, _run: EffectRun, _mark: Mark) -> ExpireOrder:
        """Say that the time has come."""
        return ExpireOrder(self.clock())


def build_executors(
    gateway: PaymentGateway, provider: EsimProvider, clock: Callable[[], datetime]
) -> Mapping[str, Executor]:
    """Return the executors by kind of effect."""
    executors = Executors(gateway, provider, clock)
    return {
        CHARGE: executors.charge,
        ACTIVATE: executors.activate,
        REFUND: executors.refund,
        EXPIRE: executors.expire,
    }

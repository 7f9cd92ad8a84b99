"""A gateway and a provider that remember no key: whoever asks twice charges, activates, refunds twice.

They say what they are told to say, whether it is true or not, and the truth when told nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

from schemas.orders import ActivationFailureReason, DeclineReason, UnknownCause
from services.orders.payments.gateways import gateway
from services.orders.payments.gateways.gateway import Charge, ChargeReference, Refund
from services.orders.renewals.providers import provider
from services.orders.renewals.providers.provider import PlanOrder
from tests.unit.orders.builders import NOW, usd

CAPTURED: Final = gateway.Captured(
    gateway="bank", gateway_txn_id="txn-9", amount=usd(2120), fee=usd(61), captured_at=NOW
)
DECLINED: Final = gateway.Declined(reason=DeclineReason.BANK_LIMIT)
REFUNDED: Final = gateway.Refunded(gateway="bank", gateway_refund_ref="ref-9", refunded_at=NOW)
ACTIVATED: Final = provider.Activated(
    provider="operator",
    provider_order_ref="plan-9",
    valid_from=NOW,
    valid_until=NOW + timedelta(days=30),
    activated_at=NOW,
)
REFUSED: Final = provider.Refused(reason=ActivationFailureReason.ESIM_NOT_ELIGIBLE)
UNKNOWN: Final = [gateway.OutcomeUnknown(cause=cause) for cause in UnknownCause]
NOT_ACTIVATED: Final = [provider.OutcomeUnknown(cause=cause) for cause in UnknownCause]
_DONE: Final = {"charge": CAPTURED, "refund": REFUNDED, "top_up": ACTIVATED}
_NOTHING: Final = {
    "charge": gateway.NotFound(),
    "refund": gateway.NotFound(),
    "top_up": provider.NotFound(),
}


class Said(NamedTuple):
    """An answer, and whether something was done; without an answer, what was done is told."""

    answer: Any = None
    done: bool = False


@dataclass
class Forgetful:
    """`PaymentGateway` and `EsimProvider` at once. `answers` are used up, by method."""

    answers: dict[str, list[Said]] = field(default_factory=dict)
    asked: list[tuple[str, object]] = field(default_factory=list)
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each thing was really done, by method and key."""

    async def charge(self, charge: Charge) -> Any:
        """Take the money, each time."""
        return self._act("charge", charge, charge.payment_id)

    async def look_up_charge(self, reference: ChargeReference) -> Any:
        """Say something about a charge."""
        return self._look_up("look_up_charge", reference, reference.payment_id, "charge")

    async def cancel_charge(self, reference: ChargeReference) -> Any:
        """Say something about a charge that is to end."""
        return self._look_up("cancel_charge", reference, reference.payment_id, "charge")

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> Any:
        """Say what it is told to say."""
        self.asked.append(("look_up_transaction", (gateway, gateway_txn_id)))
        return self._next("look_up_transaction").answer

    async def refund(self, refund: Refund) -> Any:
        """Give the money back, each time."""
        return self._act("refund", refund, refund.refund_id)

    async def look_up_refund(self, refund: Refund) -> Any:
        """Say something about a refund."""
        return self._look_up("look_up_refund", refund, refund.refund_id, "refund")

    async def top_up(self, order: PlanOrder) -> Any:
        """Put the plan on the eSIM, each time."""
        return self._act("top_up", order, order.reference)

    async def look_up(self, reference: str) -> Any:
        """Say something about an activation."""
        return self._look_up("look_up", reference, reference, "top_up")

    def times(self, method: str) -> int:
        """Return how often something was really done."""
        return sum(count for (done, _), count in self.done.items() if done == method)

    def _next(self, method: str) -> Said:
        answers = self.answers.get(method)
        return answers.pop(0) if answers else Said(done=True)

    def _act(self, method: str, wanted: object, key: str) -> Any:
        self.asked.append((method, wanted))
        said = self._next(method)
        self.done[method, key] += said.done
        return said.answer or _DONE[method]

    def _look_up(self, method: str, wanted: object, key: str, act: str) -> Any:
        self.asked.append((method, wanted))
        truth = _DONE[act] if self.done[act, key] else _NOTHING[act]
        return self._next(method).answer or truth

"""The check that money goes back once, the way it came and in the parts that were owed. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import ActivationFailed, Consideration, RefundCompleted
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusReturned
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import Check, place

ADVICE: Final = (
    "read `perennial orders show` of that order and what the gateway's statement says of the payment: "
    "what it paid out too much is to be claimed back there; then find out why orders said it"
)
_DIGEST_BYTES: Final = 16


@dataclass(slots=True)
class RefundCheck:
    """Remembers what is owed until it goes back: some 160 bytes for each debt that is open."""

    refunds: int = 0
    problem: str | None = None
    _owed: dict[bytes, bytes] = field(default_factory=dict)
    """By the digest of account and payment: the digest of the way back and of what is owed."""

    def look(self, stored: StoredEvent, event: Event) -> None:
        """Note a debt, or compare what went back with it."""
        match event:
            case ActivationFailed():
                self._owed[_payment(event)] = _debt(event.method, event.refund)
            case SurplusCaptured(renewal_id=str()):
                self._owed[_payment(event)] = _debt(event.method, event.amount)
            case RefundCompleted():
                self._compare(stored, event, _debt(event.method, event.refund))
            case SurplusReturned():
                self._compare(stored, event, _debt(event.method, event.amount))
            case _:
                pass

    def _compare(
        self, stored: StoredEvent, event: RefundCompleted | SurplusReturned, paid: bytes
    ) -> None:
        self.refunds += 1
        owed = self._owed.pop(_payment(event), None)
        if owed == paid or self.problem is not None:
            return
        wrong = "nothing is owed" if owed is None else "another amount, split or way is owed"
        self.problem = f"{place(stored)}: money went back for {event.payment_id}, where {wrong}"

    def result(self) -> Check:
        """Say whether each refund was owed."""
        compared = f"{self.refunds} refunds with what was owed"
        return Check("refunds are owed", compared, self.problem, ADVICE)


def _payment(
    event: ActivationFailed | SurplusCaptured | RefundCompleted | SurplusReturned,
) -> bytes:
    return _digest(f"{event.account_id}\n{event.payment_id}")


def _debt(method: PaymentMethod, what: Consideration | Money) -> bytes:
    return _digest(f"{method}\n{what.model_dump_json()}")


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()

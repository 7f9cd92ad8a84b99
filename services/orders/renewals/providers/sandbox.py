"""An eSIM provider without eSIMs: the ICCID's last digits decide, the journal remembers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from schemas.envelope import name_based_uuid, utc_text
from schemas.orders import ActivationFailureReason, UnknownCause
from services.orders.catalogue.validity import valid_until
from services.orders.renewals.providers.provider import (
    Activated,
    ActivationLookUp,
    ActivationOutcome,
    NotFound,
    OutcomeUnknown,
    PlanOrder,
    Refused,
    Unavailable,
)
from services.orders.sandbox_journal import Entry, SandboxJournal

PROVIDER: Final = "sandbox"
_NAMESPACE: Final = UUID("91c2a9c4-3f0b-5f57-9e0a-6a1d5c9e7b04")

ICCID_ENDINGS: Final[dict[str, str]] = {
    "9001": "refused: esim_not_found",
    "9002": "refused: esim_not_eligible",
    "9003": "activated, answered slowly",
    "9004": "the first call does nothing and is not answered, then activated",
    "9005": "activated, the first call is not answered",
    "9006": "asked twice at once, activated once",
    "9007": "unavailable for ever",
    "910N": "unavailable for the first N calls (1 to 9), then activated",
    "92NN": "unavailable for NN seconds from the first call (01 to 99), then activated",
}
"""What the last four digits make the provider do; with any others it activates."""

_ENDING_DIGITS: Final = 4
_DOWN_CALLS: Final = re.compile("^910([1-9])$")
_DOWN_SECONDS: Final = re.compile("^92([0-9]{2})$")


@dataclass(frozen=True, slots=True)
class SandboxProvider:
    """`EsimProvider` in this process. A lost answer takes `timeout_seconds` to become unknown."""

    journal: SandboxJournal
    clock: Callable[[], datetime]
    timeout_seconds: float
    slow_seconds: float

    async def top_up(self, order: PlanOrder) -> ActivationOutcome:
        """Do what the ICCID says, once per `reference`."""
        ending = order.iccid[-_ENDING_DIGITS:]
        with self.journal.locked():
            outcome = self._top_up(order, ending)
            if ending == "9006":
                outcome = self._top_up(order, ending)
        if ending == "9003":
            await asyncio.sleep(self.slow_seconds)
        if isinstance(outcome, OutcomeUnknown):
            await asyncio.sleep(self.timeout_seconds)
        return outcome

    async def look_up(self, reference: str) -> ActivationLookUp:
        """Say what became of an order."""
        with self.journal.locked():
            done = self.journal.first("activation", reference)
        return _activated(done) if done else NotFound()

    def _top_up(self, order: PlanOrder, ending: str) -> ActivationOutcome:
        if done := self.journal.first("activation", order.reference):
            return _activated(done)
        match ending:
            case "9001":
                return Refused(reason=ActivationFailureReason.ESIM_NOT_FOUND)
            case "9002":
                return Refused(reason=ActivationFailureReason.ESIM_NOT_ELIGIBLE)
            case "9004" if self._first_time("lost", order.reference):
                return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
            case "9005" if self._first_time("lost", order.reference):
                self._put_on_esim(order)
                return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
            case _ if self._down(order.reference, ending):
                self._note("unavailable", order.reference)
                return Unavailable()
            case _:
                return _activated(self._put_on_esim(order))

    def _down(self, reference: str, ending: str) -> bool:
        if ending == "9007":
            return True
        if calls := _DOWN_CALLS.match(ending):
            return self.journal.count("unavailable", reference) < int(calls.group(1))
        if seconds := _DOWN_SECONDS.match(ending):
            first = self.journal.first("unavailable", reference)
            since = datetime.fromisoformat(first["at"]) if first else self.clock()
            return self.clock() < since + timedelta(seconds=int(seconds.group(1)))
        return False

    def _first_time(self, kind: Literal["lost"], reference: str) -> bool:
        if self.journal.first(kind, reference):
            return False
        self._note(kind, reference)
        return True

    def _note(self, kind: Literal["lost", "unavailable"], reference: str) -> None:
        self.journal.append(kind, reference, at=utc_text(self.clock()))

    def _put_on_esim(self, order: PlanOrder) -> Entry:
        valid_from = self.clock()
        days = order.validity_days * order.quantity
        return self.journal.append(
            "activation",
            order.reference,
            ref=f"sbx_{name_based_uuid(_NAMESPACE, order.reference).hex}"[:28],
            plan_code=order.plan_code,
            quantity=order.quantity,
            valid_from=utc_text(valid_from),
            valid_until=utc_text(valid_until(valid_from, days, order.time_zone)),
        )


def _activated(entry: Entry) -> Activated:
    valid_from = datetime.fromisoformat(entry["valid_from"])
    return Activated(
        provider=PROVIDER,
        provider_order_ref=entry["ref"],
        valid_from=valid_from,
        valid_until=datetime.fromisoformat(entry["valid_until"]),
        activated_at=valid_from,
    )

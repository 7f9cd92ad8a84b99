"""An eSIM provider behind HTTP. What the wire did not say for sure is `OutcomeUnknown`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import TypeAdapter, ValidationError

from schemas.orders import UnknownCause
from services.orders.http_answers import bears
from services.orders.renewals.providers.provider import (
    ActivationLookUp,
    ActivationOutcome,
    OutcomeUnknown,
    PlanOrder,
    Unavailable,
)
from services.runtime.http_access import exchange

_OUTCOME: Final[TypeAdapter[ActivationOutcome]] = TypeAdapter(ActivationOutcome)
_LOOK_UP: Final[TypeAdapter[ActivationLookUp]] = TypeAdapter(ActivationLookUp)


@dataclass(frozen=True, slots=True)
class HttpProvider:
    """`EsimProvider` over a client that knows the address and the time-outs."""

    client: httpx.AsyncClient

    async def top_up(self, order: PlanOrder) -> ActivationOutcome:
        """Ask for a plan on an eSIM."""
        try:
            wanted = order.model_dump_json(exclude_none=True)
            answer = await exchange(self.client, "POST", "/top-ups", wanted)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Unavailable()  # no connection, so nothing was sent
        except httpx.TimeoutException:
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        except httpx.RequestError:
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        try:
            outcome = _OUTCOME.validate_json(answer.body)
        except ValidationError:
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        if not bears(answer, outcome.outcome):
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        return outcome

    async def look_up(self, reference: str) -> ActivationLookUp:
        """Ask what became of an order."""
        try:
            answer = await exchange(self.client, "GET", f"/top-ups/{reference}")
            outcome = _LOOK_UP.validate_json(answer.body)
        except (httpx.RequestError, ValidationError):
            return Unavailable()
        return outcome if bears(answer, outcome.outcome) else Unavailable()

"""An eSIM provider behind HTTP. What the wire did not say for sure is `OutcomeUnknown`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import TypeAdapter, ValidationError

from schemas.orders import UnknownCause
from services.orders.providers.provider import (
    ActivationLookUp,
    ActivationOutcome,
    OutcomeUnknown,
    PlanOrder,
    Unavailable,
)

_OUTCOME: Final[TypeAdapter[ActivationOutcome]] = TypeAdapter(ActivationOutcome)
_LOOK_UP: Final[TypeAdapter[ActivationLookUp]] = TypeAdapter(ActivationLookUp)


@dataclass(frozen=True, slots=True)
class HttpProvider:
    """`EsimProvider` over a client that knows the address and the time-outs."""

    client: httpx.AsyncClient

    async def top_up(self, order: PlanOrder) -> ActivationOutcome:
        """Ask for a plan on an eSIM."""
        headers = {"content-type": "application/json"}
        try:
            response = await self.client.post(
                "/top-ups", content=order.model_dump_json(), headers=headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Unavailable()  # no connection, so nothing was sent
        except httpx.TimeoutException:
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        except httpx.RequestError:
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        try:
            return _OUTCOME.validate_json(response.content)
        except ValidationError:
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)

    async def look_up(self, reference: str) -> ActivationLookUp:
        """Ask what became of an order."""
        try:
            response = await self.client.get(f"/top-ups/{reference}")
            return _LOOK_UP.validate_json(response.content)
        except (httpx.RequestError, ValidationError):
            return Unavailable()

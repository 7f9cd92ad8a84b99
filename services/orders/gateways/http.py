"""A payment gateway behind HTTP. What the wire did not say for sure is `OutcomeUnknown`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.orders import UnknownCause
from services.orders.gateways.gateway import (
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    OutcomeUnknown,
    Refund,
    RefundLookUp,
    RefundOutcome,
    Unavailable,
)

OutcomeT = TypeVar("OutcomeT")

_CHARGE: Final[TypeAdapter[ChargeOutcome]] = TypeAdapter(ChargeOutcome)
_CHARGE_LOOK_UP: Final[TypeAdapter[ChargeLookUp]] = TypeAdapter(ChargeLookUp)
_REFUND: Final[TypeAdapter[RefundOutcome]] = TypeAdapter(RefundOutcome)
_REFUND_LOOK_UP: Final[TypeAdapter[RefundLookUp]] = TypeAdapter(RefundLookUp)


@dataclass(frozen=True, slots=True)
class HttpGateway:
    """`PaymentGateway` over a client that knows the address and the time-outs."""

    client: httpx.AsyncClient

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Ask for a charge."""
        return await self._act("/charges", charge, _CHARGE)

    async def look_up_charge(self, payment_id: str) -> ChargeLookUp:
        """Ask what became of a charge."""
        return await self._look_up(f"/charges/{payment_id}", _CHARGE_LOOK_UP)

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Ask for a refund."""
        return await self._act("/refunds", refund, _REFUND)

    async def look_up_refund(self, refund_id: str) -> RefundLookUp:
        """Ask what became of a refund."""
        return await self._look_up(f"/refunds/{refund_id}", _REFUND_LOOK_UP)

    async def _act(
        self, path: str, wanted: BaseModel, outcomes: TypeAdapter[OutcomeT]
    ) -> OutcomeT | Unavailable | OutcomeUnknown:
        headers = {"content-type": "application/json"}
        try:
            response = await self.client.post(
                path, content=wanted.model_dump_json(), headers=headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Unavailable()  # no connection, so nothing was sent
        except httpx.TimeoutException:
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        except httpx.RequestError:
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        try:
            return outcomes.validate_json(response.content)
        except ValidationError:
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)

    async def _look_up(self, path: str, outcomes: TypeAdapter[OutcomeT]) -> OutcomeT | Unavailable:
        try:
            response = await self.client.get(path)
            return outcomes.validate_json(response.content)
        except (httpx.RequestError, ValidationError):
            return Unavailable()

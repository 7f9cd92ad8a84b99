"""A payment gateway behind HTTP. What the wire did not say for sure is `OutcomeUnknown`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.orders import UnknownCause
from services.orders.http_answers import bears
from services.orders.payments.gateways.gateway import (
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    ChargeReference,
    Found,
    OutcomeUnknown,
    Refund,
    RefundLookUp,
    RefundOutcome,
    TransactionLookUp,
    Unavailable,
)
from services.runtime.http_access import HttpAnswer, exchange


class _Outcome(Protocol):
    @property
    def outcome(self) -> str: ...


OutcomeT = TypeVar("OutcomeT", bound=_Outcome)

_CHARGE: Final[TypeAdapter[ChargeOutcome]] = TypeAdapter(ChargeOutcome)
_CHARGE_LOOK_UP: Final[TypeAdapter[ChargeLookUp]] = TypeAdapter(ChargeLookUp)
_TRANSACTION: Final[TypeAdapter[TransactionLookUp]] = TypeAdapter(TransactionLookUp)
_REFUND: Final[TypeAdapter[RefundOutcome]] = TypeAdapter(RefundOutcome)
_REFUND_LOOK_UP: Final[TypeAdapter[RefundLookUp]] = TypeAdapter(RefundLookUp)


@dataclass(frozen=True, slots=True)
class HttpGateway:
    """`PaymentGateway` over a client that knows the address and the time-outs."""

    client: httpx.AsyncClient

    async def charge(self, charge: Charge) -> ChargeOutcome:
        return await self._act("/charges", charge, _CHARGE)

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Ask what became of a charge."""
        return await self._look_up(f"/charges/{reference.payment_id}", _CHARGE_LOOK_UP)

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Ask for the end of a charge; what is not answered is asked again."""
        path = f"/charges/{reference.payment_id}/cancel"
        try:
            answer = await exchange(self.client, "POST", path)
        except httpx.RequestError:
            return Unavailable()
        return _read(answer, _CHARGE_LOOK_UP)

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Ask what is known of a customer's own payment; an answer about another one is none."""
        found = await self._look_up(f"/transactions/{gateway}/{gateway_txn_id}", _TRANSACTION)
        named = (gateway, gateway_txn_id)
        if isinstance(found, Found) and (found.gateway, found.gateway_txn_id) != named:
            return Unavailable()
        return found

    async def refund(self, refund: Refund) -> RefundOutcome:
        return await self._act("/refunds", refund, _REFUND)

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Ask what became of a refund."""
        return await self._look_up(f"/refunds/{refund.refund_id}", _REFUND_LOOK_UP)

    async def _act(
        self, path: str, wanted: BaseModel, outcomes: TypeAdapter[OutcomeT]
    ) -> OutcomeT | Unavailable | OutcomeUnknown:
        try:
            answer = await exchange(self.client, "POST", path, wanted.model_dump_json())
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Unavailable()  # no connection, so nothing was sent
        except httpx.TimeoutException:
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        except httpx.RequestError:
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        try:
            outcome = outcomes.validate_json(answer.body)
        except ValidationError:
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        if not bears(answer, outcome.outcome):
            return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
        return outcome

    async def _look_up(self, path: str, outcomes: TypeAdapter[OutcomeT]) -> OutcomeT | Unavailable:
        try:
            answer = await exchange(self.client, "GET", path)
        except httpx.RequestError:
            return Unavailable()
        return _read(answer, outcomes)


def _read(answer: HttpAnswer, outcomes: TypeAdapter[OutcomeT]) -> OutcomeT | Unavailable:
    try:
        outcome = outcomes.validate_json(answer.body)
    except ValidationError:
        return Unavailable()
    return outcome if bears(answer, outcome.outcome) else Unavailable()

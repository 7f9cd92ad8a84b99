"""The effect that activates a plan, and at last looks up whether it is. Pure but for its ports.

The payload is the only place where an ICCID is kept, and it goes with the effect.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, assert_never

from pydantic import TypeAdapter

from schemas.envelope import Identifier, Part
from schemas.requests import RenewalRequested
from services.orders.order import identities
from services.orders.order.past import Past
from services.orders.order.state import AwaitingActivation, Renewal
from services.orders.renewals.commands import (
    ActivatedElsewhere,
    RecordActivation,
    SettleActivation,
)
from services.orders.renewals.providers.provider import EsimProvider, NotFound, PlanOrder
from services.runtime.effect import EffectRun, Release, Retry, Start
from services.runtime.effect_definition import (
    HIDDEN,
    EffectDefinition,
    Outcome,
    Restored,
    payload_of,
)
from services.runtime.errors import ConfigurationError
from services.runtime.processor import Mark, Settlement

_KIND: Final = "activate"


class LastLookUp(Part):
    """The look-up at the final deadline: without the ICCID it can never activate."""

    reference: Identifier


_Payload = PlanOrder | LastLookUp


class ActivationPorts(Protocol):
    """The provider and a clock."""

    @property
    def provider(self) -> EsimProvider:
        """The provider that runs the eSIMs."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """Tells when the provider was seen to answer."""


def activate_effect(
    request: RenewalRequested, stream_id: str, validity_days: int, time_zone: str | None
) -> Start:
    """Activate the plan once the payment releases it."""
    reference = identities.activation_id(request.account_id, stream_id)
    order = PlanOrder(
        reference=reference,
        iccid=request.iccid,
        plan_code=request.plan_code,
        quantity=request.quantity,
        validity_days=validity_days,
        time_zone=time_zone,
    )
    return Start(
        f"{_KIND}/{reference}", _KIND, order.model_dump(exclude_none=True), hold_key=stream_id
    )


def look_up_activation(reference: str, due_at: datetime) -> Retry:
    """Turn the activation into a last look-up."""
    return Retry(due_at, LastLookUp(reference=reference).model_dump())


async def _execute(
    ports: ActivationPorts, payload: _Payload, run: EffectRun, _mark: Mark
) -> RecordActivation:
    match payload:
        case PlanOrder():
            outcome = await ports.provider.top_up(payload)
            return RecordActivation(outcome, run.attempt, last=False, now=ports.clock())
        case LastLookUp(reference=reference):
            found = await ports.provider.look_up(reference)
            return RecordActivation(found, run.attempt, last=True, now=ports.clock())
        case _:
            assert_never(payload)


async def _look_up(
    ports: ActivationPorts, payload: _Payload, run: EffectRun
) -> RecordActivation | None:
    if isinstance(payload, LastLookUp):
        return None
    found = await ports.provider.look_up(payload.reference)
    if isinstance(found, NotFound):
        return None
    return RecordActivation(found, run.attempt, last=False, now=ports.clock())


def _activated(
    said: Settlement, _payload: _Payload, _run: EffectRun, now: datetime
) -> SettleActivation:
    found = ActivatedElsewhere(said.needed("provider"), said.needed("reference"), said.when(now))
    return SettleActivation(found, said.by, said.reason, now)


def _not_activated(
    said: Settlement, _payload: _Payload, _run: EffectRun, now: datetime
) -> SettleActivation:
    return SettleActivation("not_activated", said.by, said.reason, now)


def _restore(past: Past) -> Restored:
    """Activate what is paid, hold what may be. Of an order that is over, a person may have said so.

    Raises:
        ConfigurationError: the catalogue lacks the plan that was sold.
    """
    order = past.order
    if not isinstance(order, Renewal) or not past.is_open:
        return Restored(drop_others=True)
    stream_id = order.payable.stream_id
    is_paid = isinstance(order.stage, AwaitingActivation)
    released = (Release(stream_id),) if is_paid else ()
    if not isinstance(past.request, RenewalRequested):
        return Restored(released)
    held = activate_effect(past.request, stream_id, _validity_days(past, order), order.time_zone)
    start = Start(held.effect_id, held.kind, held.payload) if is_paid else held
    return Restored((start, *released))


def _validity_days(past: Past, order: Renewal) -> int:
    price = order.quote
    plan = past.catalogue.plan_version(price.plan_code, price.plan_version)
    if plan is None:
        message = past.catalogue.lacks(price.plan_code, price.plan_version)
        raise ConfigurationError(message)
    return plan.validity_days


ACTIVATE: Final[EffectDefinition[_Payload, ActivationPorts, Past]] = EffectDefinition(
    kind=_KIND,
    called="an activation",
    read=payload_of(TypeAdapter(_Payload, config=HIDDEN)),
    look_up=_look_up,
    execute=_execute,
    outcomes=(
        Outcome("activated", _activated, ("provider", "reference")),
        Outcome("not_activated", _not_activated),
    ),
    restore=_restore,
)

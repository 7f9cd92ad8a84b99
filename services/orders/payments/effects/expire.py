"""The effect that closes an order that was not paid in time. Pure but for its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from schemas.envelope import Part
from schemas.orders import RenewalAccepted, TopUpAccepted
from services.orders.order.past import Past
from services.orders.order.state import AwaitingConfirmation
from services.orders.payments.commands import ExpireOrder, SettleExpiry
from services.orders.payments.effects.ports import PaymentPorts
from services.runtime.effect import EffectRun, Start
from services.runtime.effect_definition import EffectDefinition, Outcome, Restored, payload_of
from services.runtime.processor import Mark, Settlement

_KIND: Final = "expire"


class Expire(Part):
    """Nothing needs to be known: the order itself says whether it is paid."""


def expiry_key(stream_id: str) -> str:
    """Return the key under which the expiry is held, so that a payment can drop it."""
    return f"{stream_id}/expiry"


def expire_effect(stream_id: str, due_at: datetime) -> Start:
    """Expire the order at `due_at` unless it is paid before."""
    hold_key = expiry_key(stream_id)
    return Start(f"{_KIND}/{stream_id}", _KIND, due_at=due_at, hold_key=hold_key)


async def _execute(
    ports: PaymentPorts, _expire: Expire, _run: EffectRun, _mark: Mark
) -> ExpireOrder:
    return ExpireOrder(ports.clock())


def _expired(said: Settlement, _expire: Expire, _run: EffectRun, now: datetime) -> SettleExpiry:
    """Close an unpaid order before its deadline."""
    return SettleExpiry(said.by, said.reason, now)


def _restore(past: Past) -> Restored:
    order = past.order
    if order is None or not isinstance(order.stage, AwaitingConfirmation):
        return Restored(drop_others=True)
    accepted = next(e for e in past.events if isinstance(e, RenewalAccepted | TopUpAccepted))
    confirm_by = accepted.confirm_by or accepted.accepted_at
    return Restored((expire_effect(order.payable.stream_id, confirm_by),), drop_others=True)


EXPIRE: Final[EffectDefinition[Expire, PaymentPorts, Past]] = EffectDefinition(
    kind=_KIND,
    called="an expiry",
    read=payload_of(TypeAdapter(Expire)),
    execute=_execute,
    outcomes=(Outcome("expired", _expired),),
    hint="a payment comes in as PaymentConfirmed",
    restore=_restore,
)

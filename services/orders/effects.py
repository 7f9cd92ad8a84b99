"""All effects of orders: what may have to be done outside, or at a given time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.orders.order.past import Past
from services.orders.payments.claims.port import Claims
from services.orders.payments.effects.charge import CHARGE
from services.orders.payments.effects.confirm import CONFIRM
from services.orders.payments.effects.expire import EXPIRE
from services.orders.payments.effects.refund import REFUND
from services.orders.payments.gateways.gateway import PaymentGateway
from services.orders.renewals.effects.activate import ACTIVATE
from services.orders.renewals.providers.provider import EsimProvider
from services.runtime.effect_definition import EffectDefinition
from services.runtime.processor import Effect


@dataclass(frozen=True, slots=True)
class Outside:
    """What the effects of orders reach the outside by."""

    gateway: PaymentGateway
    provider: EsimProvider
    clock: Callable[[], datetime]
    claims: Claims
    trusted_gateways: frozenset[str] = frozenset()


EFFECTS: Final[tuple[EffectDefinition[Any, Outside, Past], ...]] = (
    REFUND,
    CONFIRM,
    CHARGE,
    EXPIRE,
    ACTIVATE,
)


def build_effects(outside: Outside) -> dict[str, Effect]:
    """Return the effects by their kind, as the runtime runs them."""
    return {each.kind: each.bound_to(outside) for each in EFFECTS}

"""What a person settled about an activation, as a command for its order. PURE."""

from __future__ import annotations

from datetime import datetime

from services.orders.renewals.commands import ActivatedElsewhere, SettleActivation
from services.runtime.errors import SettlementRefused
from services.runtime.processor import EffectRun, Settlement


def on_activation_settled(said: Settlement, _run: EffectRun, now: datetime) -> SettleActivation:
    """Settle an activation as a person found it.

    Raises:
        SettlementRefused: the outcome is none of an activation, or an active plan has no reference.
    """
    by, reason = said.by, said.reason
    match said:
        case Settlement(outcome="activated", provider=str(provider), reference=str(reference)):
            found = ActivatedElsewhere(provider, reference, _when(said, now))
            return SettleActivation(found, by, reason, now)
        case Settlement(outcome="activated"):
            raise SettlementRefused("an active plan needs the provider and its reference")
        case Settlement(outcome="not_activated"):
            return SettleActivation("not_activated", by, reason, now)
        case _:
            raise SettlementRefused("the outcome of an activation is activated or not_activated")


def _when(said: Settlement, now: datetime) -> datetime:
    """Return when it happened, as far as that is known; nothing happened later than now."""
    return min(said.at or now, now)

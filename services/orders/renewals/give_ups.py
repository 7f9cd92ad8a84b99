"""What a person settled about an activation, as a command for its order. PURE."""

from __future__ import annotations

from datetime import datetime

from services.orders.renewals.commands import ActivatedElsewhere, SettleActivation
from services.runtime.errors import Poison
from services.runtime.processor import EffectRun, GiveUp


def on_activation_given_up(given_up: GiveUp, _run: EffectRun, now: datetime) -> SettleActivation:
    """Settle an activation as a person found it.

    Raises:
        Poison: the outcome is none of an activation, or an active plan has no reference.
    """
    by, reason = given_up.by, given_up.reason
    match given_up:
        case GiveUp(outcome="activated", provider=str(provider), reference=str(reference)):
            found = ActivatedElsewhere(provider, reference, _when(given_up, now))
            return SettleActivation(found, by, reason, now)
        case GiveUp(outcome="activated"):
            raise Poison("give_up", "an active plan needs the provider and its reference")
        case GiveUp(outcome="not_activated"):
            return SettleActivation("not_activated", by, reason, now)
        case _:
            raise Poison("give_up", "the outcome of an activation is activated or not_activated")


def _when(given_up: GiveUp, now: datetime) -> datetime:
    """Return when it happened, as far as that is known; nothing happened later than now."""
    return min(given_up.at or now, now)

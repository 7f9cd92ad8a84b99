"""All effects of the notifier: a message of each channel."""

from __future__ import annotations

from typing import Final

from services.notifier.channels.email.effect import EMAIL, EmailPorts
from services.runtime.processor import Effect

EFFECTS: Final = (EMAIL,)


def build_effects(ports: EmailPorts) -> dict[str, Effect]:
    """Return the effects by their kind, as the runtime runs them."""
    return {each.kind: each.bound_to(ports) for each in EFFECTS}

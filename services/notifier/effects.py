"""All effects of the notifier: a message of each channel, and what else a channel does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.requests import Channel
from services.notifier.channels.definition import ChannelPorts
from services.notifier.channels.registry import CHANNELS
from services.runtime.processor import Effect

EFFECTS: Final = tuple(effect for channel in CHANNELS for effect in channel.effects)


def build_effects(ports: Mapping[Channel, ChannelPorts]) -> dict[str, Effect]:
    """Return the effects of the open channels by their kind, as the runtime runs them."""
    return {
        effect.kind: effect.bound_to(ports[channel.definition.name])
        for channel in CHANNELS
        if channel.definition.name in ports
        for effect in channel.effects
    }

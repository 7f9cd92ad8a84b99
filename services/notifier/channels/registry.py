"""All channels. A new one is its folder, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from services.notifier.channels.definition import ChannelDefinition, ChannelPorts, OpenChannel
from services.notifier.channels.email.effect import EMAIL, EMAIL_CHANNEL
from services.notifier.channels.email.opening import open_email
from services.notifier.channels.sms.effect import SMS, SMS_CHANNEL
from services.notifier.channels.sms.opening import open_sms
from services.notifier.channels.sms.report import SMS_REPORT
from services.runtime.effect_definition import EffectDefinition


class RegisteredChannel(NamedTuple):
    """A channel, its effects, and what opens it by the settings; None: it is not to be used."""

    definition: ChannelDefinition
    effects: tuple[EffectDefinition[Any, ChannelPorts, Any], ...]
    open: Callable[[Any, Callable[[], datetime]], OpenChannel | None]


CHANNELS: Final = (
    RegisteredChannel(EMAIL_CHANNEL, (EMAIL,), open_email),
    RegisteredChannel(SMS_CHANNEL, (SMS, SMS_REPORT), open_sms),
)


def recipients_of(address: str) -> Iterator[str]:
    """Yield the one spelling of an address for each channel that it is an address of."""
    for channel in CHANNELS:
        recipient = channel.definition.recipient_of(address)
        if recipient is not None:
            yield recipient

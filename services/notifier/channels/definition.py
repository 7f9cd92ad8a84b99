"""What a channel is: where it finds an address, what its texts are called, and what sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.envelope import Event
from schemas.requests import Channel, Contact
from services.notifier.limits.turns import Turns
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import DeliveryOutcome, Report, SentText
from services.notifier.notification.policy import Limits
from services.runtime.effect import EffectRun
from services.runtime.logs import Logger
from services.runtime.processor import Mark


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message has to tell, and whom. `listed` are the orders of what it tells of besides."""

    fact: Fact
    event: Event
    contact: Contact = field(repr=False)
    address: str = field(repr=False)
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a message; `text` names it, None where none was written."""

    outcome: DeliveryOutcome
    text: SentText | None = None


class Sender(Protocol):
    """An open channel: it writes a message in the language of the customer, and sends it once."""

    async def send(self, draft: Draft, mark: Mark) -> Attempt:
        """Send, with a mark just before the message can count as accepted."""

    async def look_up(self, fact: Fact, run: EffectRun) -> Attempt | None:
        """Return what became of an earlier attempt that may have been accepted; None: none was."""

    async def report(self, message_id: str) -> Report:
        """Return what is reported of a message that was accepted; None where nothing is."""

    async def close(self) -> None:
        """Give up connections."""


class ContactSource(Protocol):
    """Where contacts are looked up."""

    async def find(self, account_id: str) -> Contact | None:
        """Return the contact of an account, or None."""


@dataclass(frozen=True, slots=True)
class ChannelPorts:
    """What the messages of a channel reach the outside by, and a clock.

    `limits` say how many messages of a template one recipient gets, `open_channels` by which
    channels customers can be told at all.
    """

    contacts: ContactSource
    turns: Turns
    sender: Sender
    limits: Limits
    open_channels: frozenset[Channel]
    clock: Callable[[], datetime]
    logger: Logger


class OpenChannel(NamedTuple):
    """A channel that the settings name, and how much of it one recipient gets."""

    sender: Sender
    limits: Limits


@dataclass(frozen=True, slots=True)
class ChannelDefinition:
    """One channel; `called` is what messages call one of its messages.

    `versions` are those of its texts, by template. `address_of` finds the address in a contact,
    None where there is none; `recipient_of` returns the one spelling that it has for all of them,
    None for what is no address of this channel.
    """

    name: Channel
    called: str
    versions: Mapping[str, str]
    address_of: Callable[[Contact], str | None]
    recipient_of: Callable[[str], str | None]

"""SMS as a channel: what it finds in a contact, and what sends one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from schemas.requests import Channel, Contact
from services.notifier.channels.definition import Attempt, ChannelDefinition, Draft
from services.notifier.channels.sms.channel import (
    REQUEST_SENT,
    NoAnswer,
    NoSuchMessage,
    OutgoingSms,
    SmsChannel,
)
from services.notifier.channels.sms.phone_numbers import phone_number
from services.notifier.channels.sms.segments import segments_of
from services.notifier.channels.sms.texts import render
from services.notifier.channels.sms.texts.wording import VERSIONS
from services.notifier.channels.telling import message_effect
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import notification_key
from services.notifier.notification.outcomes import (
    Arrived,
    Delivered,
    Lost,
    Refused,
    Report,
    SentText,
    Unanswered,
    Unknown,
)
from services.runtime.effect import EffectRun
from services.runtime.processor import Mark

_BETWEEN: Final = "/"


def _address_of(contact: Contact) -> str | None:
    return contact.phone


def _recipient_of(address: str) -> str | None:
    return f"sms:{address}" if phone_number(address) == address else None


SMS_CHANNEL: Final = ChannelDefinition(
    name=Channel.SMS,
    called="an SMS",
    versions={name: each.version for name, each in VERSIONS.items()},
    address_of=_address_of,
    recipient_of=_recipient_of,
)
SMS: Final = message_effect(SMS_CHANNEL)


@dataclass(frozen=True, slots=True)
class SmsSender:
    """Writes texts of at most `segments_max`, and hands them to `channel`.

    With `prefixes`, it writes to no number that begins with none of them.
    """

    channel: SmsChannel
    sender: str
    segments_max: int
    prefixes: frozenset[str] = frozenset()

    async def send(self, draft: Draft, mark: Mark) -> Attempt:
        """Send one text; what is too long or goes too far is refused before anything is sent."""
        if self.prefixes and not draft.address.startswith(tuple(self.prefixes)):
            return Attempt(Refused("address"))
        rendered = render(draft.event, draft.contact, draft.listed)
        segments = segments_of(rendered.text)
        if segments.count > self.segments_max:
            return Attempt(Refused("message"))
        message_id = _message_id(draft.fact)
        sha256 = hashlib.sha256(rendered.text.encode()).hexdigest()
        text = SentText(rendered.locale, message_id, sha256)
        await mark(_BETWEEN.join((REQUEST_SENT, rendered.locale, sha256)))
        outcome = await self.channel.send(
            OutgoingSms(
                message_id,
                self.sender,
                draft.address,
                rendered.text,
                segments.encoding,
                segments.count,
            )
        )
        return Attempt(Unanswered(text) if isinstance(outcome, Unknown) else outcome, text)

    async def look_up(self, fact: Fact, run: EffectRun) -> Attempt | None:
        """Ask the aggregator about a request without an answer; it is never sent again."""
        text = fact.unanswered or _marked(fact, run)
        if text is None:
            return None
        status = await self.channel.look_up(text.message_id)
        if isinstance(status, NoSuchMessage | NoAnswer):
            return Attempt(Unanswered(text), text)
        return Attempt(Delivered(), text)

    async def report(self, message_id: str) -> Report:
        """Return what the aggregator says of a message that it accepted."""
        status = await self.channel.look_up(message_id)
        return status if isinstance(status, Arrived | Lost) else None

    async def close(self) -> None:
        """Give up connections."""
        await self.channel.close()


def _message_id(fact: Fact) -> str:
    return str(notification_key(fact.key, Channel.SMS))


def _marked(fact: Fact, run: EffectRun) -> SentText | None:
    """Return the text whose request may have gone out before a crash."""
    name, _, rest = (run.checkpoint or "").partition(_BETWEEN)
    if not run.recovered or name != REQUEST_SENT:
        return None
    locale, _, sha256 = rest.partition(_BETWEEN)
    return SentText(locale, _message_id(fact), sha256)

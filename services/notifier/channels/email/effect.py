"""Email as a channel: what it finds in a contact, and what sends one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.requests import Channel, Contact
from services.notifier.channels.definition import Attempt, ChannelDefinition, Draft
from services.notifier.channels.email.channel import DOT_SENT, EmailChannel
from services.notifier.channels.email.mailboxes import plain_mailbox
from services.notifier.channels.email.message import (
    Letterhead,
    UnsafeMessage,
    build_mail,
    sha256_of,
)
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.wording import VERSIONS
from services.notifier.channels.telling import message_effect
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import Refused, Report, SentText, Unknown
from services.runtime.effect import EffectRun
from services.runtime.processor import Mark


def _address_of(contact: Contact) -> str:
    return contact.email


def _recipient_of(address: str) -> str | None:
    return plain_mailbox(address) if "@" in address else None


EMAIL_CHANNEL: Final = ChannelDefinition(
    name=Channel.EMAIL,
    called="an email",
    versions={name: each.version for name, each in VERSIONS.items()},
    address_of=_address_of,
    recipient_of=_recipient_of,
)
EMAIL: Final = message_effect(EMAIL_CHANNEL)


@dataclass(frozen=True, slots=True)
class EmailSender:
    """Writes emails under `letterhead`, and hands them to `channel`."""

    channel: EmailChannel
    letterhead: Letterhead

    async def send(self, draft: Draft, mark: Mark) -> Attempt:
        """Send one email; a text that would become a header is refused before anything is sent."""
        letterhead = self.letterhead
        rendered = render(draft.event, draft.contact, draft.listed, letterhead.house)
        try:
            mail = build_mail(draft.fact, rendered, draft.address, letterhead)
        except UnsafeMessage:
            return Attempt(Refused("message"))
        outcome = await self.channel.send(mail, mark)
        return Attempt(outcome, SentText(rendered.locale, mail.message_id, sha256_of(mail)))

    async def look_up(self, _fact: Fact, run: EffectRun) -> Attempt | None:
        """Say that nothing is known behind the final dot: a mail server cannot be asked."""
        if run.recovered and run.checkpoint == DOT_SENT:
            return Attempt(Unknown())
        return None

    async def report(self, _message_id: str) -> Report:
        """Say nothing: no mail server reports what arrived."""
        return None

    async def close(self) -> None:
        """Give up connections."""
        await self.channel.close()

"""Sends one email: reads the contact at the last moment, and says what came of it as a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from schemas.requests import Contact
from services.notifier.channels.email import (
    DOT_SENT,
    Deferred,
    Delivered,
    EmailChannel,
    Refused,
    Unknown,
)
from services.notifier.commands import (
    RecordDelivered,
    RecordHeldBack,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    SentText,
    Template,
)
from services.notifier.decider import EMAIL
from services.notifier.emails import TEMPLATE_OF, order_of, render
from services.notifier.emails.wording import VERSIONS
from services.notifier.facts import Fact
from services.notifier.give_ups import on_email_settled
from services.notifier.mail_limits import Admitted, HeldBack, InDigest, MailKind, MailTurns
from services.notifier.message import Letterhead, UnsafeMessage, build_mail, sha256_of
from services.runtime.logs import Logger
from services.runtime.processor import Effect, EffectRun, Mark

Result = RecordNoContact | RecordHeldBack | RecordInDigest | RecordDelivered | RecordNotDelivered


class ContactSource(Protocol):
    """Where contacts are looked up."""

    async def find(self, account_id: str) -> Contact | None:
        """Return the contact of an account, or None."""


@dataclass(frozen=True, slots=True)
class EmailExecutor:
    """Does the one effect of the notifier over its ports and a clock."""

    contacts: ContactSource
    turns: MailTurns
    channel: EmailChannel
    letterhead: Letterhead
    clock: Callable[[], datetime]
    logger: Logger

    async def send(self, run: EffectRun, mark: Mark) -> Result:
        """Send once: what may have been accepted before a crash is never sent again."""
        fact = Fact.from_payload(run.payload)
        event = fact.event()
        name = TEMPLATE_OF[type(event)]
        template = Template(name, VERSIONS[name].version)
        if run.recovered and run.checkpoint == DOT_SENT:
            return self._not_delivered(run, fact, template, Unknown())
        contact = await self.contacts.find(fact.account_id)
        if contact is None:
            return RecordNoContact(fact, template, run.attempt, self.clock())
        kind = MailKind(name, order_of(event))
        turn = await self.turns.ask(run, fact, kind, contact.email)
        if not isinstance(turn, Admitted):
            return self._held_back(run, fact, template, turn)
        fact = fact.admitted_to(turn.mailbox)
        rendered = render(event, contact, turn.listed, self.letterhead.house)
        try:
            mail = build_mail(fact, rendered, contact.email, self.letterhead)
        except UnsafeMessage:
            return self._not_delivered(run, fact, template, Refused("message"))
        outcome = await self.channel.send(mail, mark)
        if isinstance(outcome, Delivered):
            text = SentText(rendered.locale, mail.message_id, sha256_of(mail))
            return RecordDelivered(fact, template, text, self.clock())
        return self._not_delivered(run, fact, template, outcome)

    def _held_back(
        self, run: EffectRun, fact: Fact, template: Template, turn: HeldBack | InDigest
    ) -> RecordHeldBack | RecordInDigest:
        if isinstance(turn, InDigest):
            return RecordInDigest(fact, template, turn.digest, self.clock())
        self.logger.info(
            "email_held_back", fact_event_id=str(fact.event_id), template=template.name
        )
        return RecordHeldBack(fact, template, turn.until, run.attempt, self.clock())

    def _not_delivered(
        self,
        run: EffectRun,
        fact: Fact,
        template: Template,
        outcome: Refused | Deferred | Unknown,
    ) -> RecordNotDelivered:
        about = (
            {"cause": str(outcome.cause), "smtp_code": outcome.smtp_code}
            if isinstance(outcome, Deferred)
            else {}
        )
        self.logger.warning(
            "email_not_delivered",
            fact_event_id=str(fact.event_id),
            attempt=run.attempt,
            outcome=_WORDS[type(outcome)],
            **about,
        )
        return RecordNotDelivered(fact, template, outcome, run.attempt, self.clock())


_WORDS: Final = {Refused: "refused", Deferred: "deferred", Unknown: "unknown"}


def build_effects(executor: EmailExecutor) -> dict[str, Effect]:
    """Return the effects by their kind."""
    return {EMAIL: Effect(executor.send, on_email_settled)}

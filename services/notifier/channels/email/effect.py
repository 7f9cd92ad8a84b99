"""The effect of the channel: one email, whose contact is read at the last moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from schemas.envelope import Event
from schemas.requests import Contact
from services.notifier.channels.email.channel import DOT_SENT, EmailChannel
from services.notifier.channels.email.message import (
    Letterhead,
    UnsafeMessage,
    build_mail,
    sha256_of,
)
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.wording import VERSIONS
from services.notifier.limits.turns import Admitted, InDigest, MessageKind, Postponed, Turns
from services.notifier.notification.commands import (
    FoundSent,
    RecordDelivered,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    RecordPostponed,
    SentText,
    SettleEmail,
    Template,
)
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import EMAIL_KIND
from services.notifier.notification.outcomes import Deferred, Delivered, Refused, Unknown
from services.notifier.notification.templates import TEMPLATE_OF, order_of
from services.runtime.effect import EffectRun
from services.runtime.effect_definition import EffectDefinition, Outcome, Restored
from services.runtime.logs import Logger
from services.runtime.processor import Mark, Settlement

Result = RecordNoContact | RecordPostponed | RecordInDigest | RecordDelivered | RecordNotDelivered
_WORDS: Final = {Refused: "refused", Deferred: "deferred", Unknown: "unknown"}


class ContactSource(Protocol):
    """Where contacts are looked up."""

    async def find(self, account_id: str) -> Contact | None:
        """Return the contact of an account, or None."""


@dataclass(frozen=True, slots=True)
class EmailPorts:
    """What an email reaches the outside by, and a clock."""

    contacts: ContactSource
    turns: Turns
    channel: EmailChannel
    letterhead: Letterhead
    clock: Callable[[], datetime]
    logger: Logger


async def _execute(ports: EmailPorts, fact: Fact, run: EffectRun, mark: Mark) -> Result:
    event = fact.event()
    template = template_of(event)
    contact = await ports.contacts.find(fact.account_id)
    if contact is None:
        return RecordNoContact(fact, template, run.attempt, ports.clock())
    kind = MessageKind(template.name, order_of(event))
    turn = await ports.turns.ask(run, fact, kind, contact.email)
    if not isinstance(turn, Admitted):
        return _held_back(ports, run, fact, template, turn)
    fact = fact.admitted_to(turn.mailbox)
    rendered = render(event, contact, turn.listed, ports.letterhead.house)
    try:
        mail = build_mail(fact, rendered, contact.email, ports.letterhead)
    except UnsafeMessage:
        return _not_delivered(ports, run, fact, template, Refused("message"))
    outcome = await ports.channel.send(mail, mark)
    if isinstance(outcome, Delivered):
        text = SentText(rendered.locale, mail.message_id, sha256_of(mail))
        return RecordDelivered(fact, template, text, ports.clock())
    return _not_delivered(ports, run, fact, template, outcome)


async def _look_up(ports: EmailPorts, fact: Fact, run: EffectRun) -> RecordNotDelivered | None:
    """Send nothing again that may have been accepted before a crash; nobody can be asked about it."""
    if run.recovered and run.checkpoint == DOT_SENT:
        return _not_delivered(ports, run, fact, template_of(fact.event()), Unknown())
    return None


def template_of(event: Event) -> Template:
    """Return which text tells of an event."""
    name = TEMPLATE_OF[type(event)]
    return Template(name, VERSIONS[name].version)


def _held_back(
    ports: EmailPorts,
    run: EffectRun,
    fact: Fact,
    template: Template,
    turn: Postponed | InDigest,
) -> RecordPostponed | RecordInDigest:
    if isinstance(turn, InDigest):
        return RecordInDigest(fact, template, turn.digest, ports.clock())
    ports.logger.info("email_held_back", fact_event_id=str(fact.event_id), template=template.name)
    return RecordPostponed(fact, template, turn.until, run.attempt, ports.clock())


def _not_delivered(
    ports: EmailPorts,
    run: EffectRun,
    fact: Fact,
    template: Template,
    outcome: Refused | Deferred | Unknown,
) -> RecordNotDelivered:
    about = (
        {"cause": str(outcome.cause), "smtp_code": outcome.code}
        if isinstance(outcome, Deferred)
        else {}
    )
    ports.logger.warning(
        "email_not_delivered",
        fact_event_id=str(fact.event_id),
        attempt=run.attempt,
        outcome=_WORDS[type(outcome)],
        **about,
    )
    return RecordNotDelivered(fact, template, outcome, run.attempt, ports.clock())


def _sent(said: Settlement, fact: Fact, _run: EffectRun, now: datetime) -> SettleEmail:
    found = FoundSent(said.needed("reference"), said.when(now))
    return SettleEmail(fact, template_of(fact.event()), found, said.by, said.reason, now)


def _not_sent(said: Settlement, fact: Fact, _run: EffectRun, now: datetime) -> SettleEmail:
    return SettleEmail(fact, template_of(fact.event()), "not_sent", said.by, said.reason, now)


def _restore(_past: None) -> Restored:
    """Want nothing: every event of the notifier ends its notification, and facts are read again."""
    return Restored(drop_others=True)


EMAIL: Final[EffectDefinition[Fact, EmailPorts, None]] = EffectDefinition(
    kind=EMAIL_KIND,
    called="an email",
    read=Fact.from_payload,
    look_up=_look_up,
    execute=_execute,
    outcomes=(Outcome("sent", _sent, ("reference",)), Outcome("not_sent", _not_sent)),
    restore=_restore,
)

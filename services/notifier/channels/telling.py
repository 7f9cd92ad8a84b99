"""How a fact is told by any channel: contact, turn, text, one attempt. The channel does the rest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from schemas.requests import Channel
from services.notifier.channels.definition import (
    Attempt,
    ChannelDefinition,
    ChannelPorts,
    Draft,
)
from services.notifier.limits.turns import Admitted, InDigest, Postponed, TurnWanted
from services.notifier.notification.commands import (
    FoundSent,
    NotWanted,
    RecordDelivered,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    RecordPostponed,
    SettleMessage,
    Template,
)
from services.notifier.notification.evolution import NotificationState
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import notification_key
from services.notifier.notification.outcomes import (
    Deferred,
    Delivered,
    Refused,
    Unanswered,
    Unknown,
)
from services.notifier.notification.templates import TEMPLATE_OF, order_of
from services.runtime.effect_definition import EffectDefinition, Outcome, Restored

if TYPE_CHECKING:
    from datetime import datetime

    from schemas.envelope import Event
    from services.runtime.effect import EffectRun
    from services.runtime.processor import Mark, Settlement

Result = (
    NotWanted
    | RecordNoContact
    | RecordPostponed
    | RecordInDigest
    | RecordDelivered
    | RecordNotDelivered
)
_WORDS: Final = {
    Refused: "refused",
    Deferred: "deferred",
    Unknown: "unknown",
    Unanswered: "unanswered",
}


def message_effect(
    channel: ChannelDefinition,
) -> EffectDefinition[Fact, ChannelPorts, NotificationState]:
    """Return the effect that tells of one fact by `channel`."""
    return EffectDefinition(
        kind=str(channel.name),
        called=channel.called,
        read=Fact.from_payload,
        look_up=partial(_look_up, channel),
        execute=partial(_execute, channel),
        outcomes=(
            Outcome("sent", partial(_sent, channel), ("reference",)),
            Outcome("not_sent", partial(_not_sent, channel)),
        ),
        restore=_restore,
    )


async def _execute(
    channel: ChannelDefinition, ports: ChannelPorts, fact: Fact, run: EffectRun, mark: Mark
) -> Result:
    """Tell by each channel that is wanted and open; by email where there is none of them."""
    event = fact.event()
    template = _template_of(channel, event)
    contact = await ports.contacts.find(fact.account_id)
    if contact is None:
        return RecordNoContact(fact, template, run.attempt, ports.clock())
    wanted_by = frozenset(contact.channels) & ports.open_channels or {Channel.EMAIL}
    address = channel.address_of(contact) if channel.name in wanted_by else None
    recipient = None if address is None else channel.recipient_of(address)
    if address is None or recipient is None:
        return NotWanted(fact, template)
    wanted = TurnWanted(
        notification_key(fact.key, channel.name),
        template.name,
        order_of(event),
        ports.limits.of(template.name),
        recipient,
        fact.admitted,
    )
    turn = await ports.turns.ask(run, wanted)
    if not isinstance(turn, Admitted):
        return _held_back(ports, run, fact, template, turn)
    fact = fact.admitted_to(turn.recipient)
    attempt = await ports.sender.send(Draft(fact, event, contact, address, turn.listed), mark)
    return _result(ports, run, fact, template, attempt)


async def _look_up(
    channel: ChannelDefinition, ports: ChannelPorts, fact: Fact, run: EffectRun
) -> Result | None:
    """Send nothing again that may have been accepted before a crash."""
    attempt = await ports.sender.look_up(fact, run)
    if attempt is None:
        return None
    return _result(ports, run, fact, _template_of(channel, fact.event()), attempt)


def _template_of(channel: ChannelDefinition, event: Event) -> Template:
    name = TEMPLATE_OF[type(event)]
    return Template(channel.name, name, channel.versions[name])


def _held_back(
    ports: ChannelPorts, run: EffectRun, fact: Fact, template: Template, turn: Postponed | InDigest
) -> RecordPostponed | RecordInDigest:
    if isinstance(turn, InDigest):
        return RecordInDigest(fact, template, turn.digest, ports.clock())
    name = f"{template.channel}_held_back"
    ports.logger.info(
        name,
        fact_event_id=str(fact.event_id),
        template=template.name,
    )
    return RecordPostponed(fact, template, turn.until, run.attempt, ports.clock())


def _result(
    ports: ChannelPorts, run: EffectRun, fact: Fact, template: Template, attempt: Attempt
) -> RecordDelivered | RecordNotDelivered:
    outcome = attempt.outcome
    if isinstance(outcome, Delivered):
        if attempt.text is None:
            message = "a message was accepted that nobody wrote"
            raise TypeError(message)
        return RecordDelivered(fact, template, attempt.text, ports.clock())
    about = (
        {"cause": str(outcome.cause), "code": outcome.code} if isinstance(outcome, Deferred) else {}
    )
    name = f"{template.channel}_not_delivered"
    ports.logger.warning(
        name,
        fact_event_id=str(fact.event_id),
        attempt=run.attempt,
        outcome=_WORDS[type(outcome)],
        **about,
    )
    return RecordNotDelivered(fact, template, outcome, run.attempt, ports.clock())


def _sent(
    channel: ChannelDefinition, said: Settlement, fact: Fact, _run: EffectRun, now: datetime
) -> SettleMessage:
    found = FoundSent(said.needed("reference"), said.when(now))
    template = _template_of(channel, fact.event())
    return SettleMessage(fact, template, found, said.by, said.reason, now)


def _not_sent(
    channel: ChannelDefinition, said: Settlement, fact: Fact, _run: EffectRun, now: datetime
) -> SettleMessage:
    template = _template_of(channel, fact.event())
    return SettleMessage(fact, template, "not_sent", said.by, said.reason, now)


def _restore(_past: NotificationState) -> Restored:
    """Want nothing: no event of a stream leaves its message unsent, and facts are read again."""
    return Restored(drop_others=True)

"""Decides what follows from a fact, a contact and the answer of the mail server. PURE."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, assert_never

from schemas.notifier import (
    NotificationDelivered,
    NotificationFailed,
    NotificationFailureReason,
    NotificationSent,
    NotificationSuppressed,
    NotificationSuppressionReason,
    NotificationUndelivered,
    UndeliveredReason,
)
from schemas.requests import Channel
from services.notifier.notification.commands import (
    Command,
    KeepAside,
    Notify,
    NotifyBy,
    NotWanted,
    RecordDelivered,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    RecordPostponed,
    RecordReport,
    ReleaseHeld,
    SettleMessage,
    Template,
)
from services.notifier.notification.evolution import NotificationState, Sent, Untold
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import (
    effect_id,
    hold_key,
    notification_id,
    notification_key,
    stream_id,
)
from services.notifier.notification.outcomes import (
    Arrived,
    Deferred,
    Lost,
    Refused,
    SentText,
    Unanswered,
    Unknown,
)
from services.notifier.notification.policy import Policy
from services.notifier.notification.reports import is_reported, report_effect
from services.runtime.effect import Release, Retry, Start
from services.runtime.processor import Decision, Ignored, Send

_NO_BYTES: Final = sha256(b"").hexdigest()
_NO_LANGUAGE: Final = "und"


class IgnoredReason(StrEnum):
    """Why there was nothing to do."""

    ALREADY_SETTLED = "already_settled"
    NO_CONTACT_IN_REQUEST = "no_contact_in_request"
    PAY_LINK_EXPIRED = "pay_link_expired"


def decide(command: Command, state: NotificationState, policy: Policy) -> Decision | Ignored:
    """Return the new facts and the effects they want, or why there is nothing to do."""
    if isinstance(command, ReleaseHeld | KeepAside):
        return _release(command)
    if isinstance(command, RecordReport):
        return _report(command, state, policy)
    if not isinstance(state, Untold):
        return Ignored(IgnoredReason.ALREADY_SETTLED)
    match command:
        case Notify():
            return _send_on(command, policy)
        case NotifyBy():
            return _start(command)
        case NotWanted():
            return Decision()
        case RecordNoContact():
            return _wait_for_contact(command, policy)
        case SettleMessage():
            return _settle(command)
        case _:
            return _record(command, policy)


def _record(
    command: RecordDelivered | RecordNotDelivered | RecordPostponed | RecordInDigest, policy: Policy
) -> Decision:
    """Record what became of a message that had an address."""
    match command:
        case RecordDelivered():
            return _record_sent(command, policy)
        case RecordNotDelivered():
            return _record_not_sent(command, policy)
        case RecordPostponed():
            return _hold_back(command, policy)
        case RecordInDigest():
            return _record_suppressed(command)
        case _:
            assert_never(command)


def _release(command: ReleaseHeld | KeepAside) -> Decision:
    if isinstance(command, KeepAside):
        return Decision()
    return Decision(effects=(Release(hold_key(command.account_id)),))


def _send_on(command: Notify, policy: Policy) -> Decision:
    """Have each channel tell of the fact in a stream of its own; the customer wants some of them."""
    fact = command.fact
    return Decision(
        sends=tuple(
            Send(stream_id(fact.key, channel), NotifyBy(fact, channel))
            for channel in policy.channels
        )
    )


def _report(command: RecordReport, state: NotificationState, policy: Policy) -> Decision | Ignored:
    """Record what became of a message, once; ask again where nothing is known."""
    if not isinstance(state, Sent):
        return Ignored(IgnoredReason.ALREADY_SETTLED)
    awaited, now = command.awaited, command.now
    identity = awaited.model_dump(exclude={"message_id", "until"})
    match command.found:
        case Arrived(at=at):
            return Decision((NotificationDelivered(**identity, delivered_at=min(at, now)),))
        case Lost(reason=reason, at=at):
            lost = NotificationUndelivered(**identity, reason=reason, undelivered_at=min(at, now))
            return Decision((lost,))
        case None:
            pass
    if now >= awaited.until:
        unreported = UndeliveredReason.UNREPORTED
        event = NotificationUndelivered(**identity, reason=unreported, undelivered_at=now)
        return Decision((event,))
    due_at = min(now + policy.report_pause_after(command.attempt), awaited.until)
    return Decision(effects=(Retry(due_at),))


def _start(command: NotifyBy) -> Decision:
    fact = command.fact
    effect = Start(effect_id(fact.key, command.channel), str(command.channel), fact.payload())
    return Decision(effects=(effect,))


def _wait_for_contact(command: RecordNoContact, policy: Policy) -> Decision:
    """Hold the message until the contact arrives.

    A contact may have been stored between the look-up and this decision, with nothing held yet to
    release: the due time has the executor look again.
    """
    fact, now = command.fact, command.now
    if now >= fact.contact_by:
        if command.template.channel is not Channel.EMAIL:
            return Decision()  # nobody asked for it; that there is no contact is told once
        return _failed(
            fact, command.template, NotificationFailureReason.CONTACT_MISSING, command.now
        )
    look_again_at = min(now + policy.pause_after(command.attempt), fact.contact_by)
    return Decision(effects=(Retry(look_again_at, hold_key=hold_key(fact.account_id)),))


def _record_sent(command: RecordDelivered, policy: Policy) -> Decision:
    text = command.text
    event = NotificationSent(
        **_identity(command.fact, command.template),
        locale=text.locale,
        message_id=text.message_id,
        message_sha256=text.message_sha256,
        sent_at=command.now,
    )
    effects = (report_effect(event, policy),) if is_reported(event) else ()
    return Decision((event,), effects)


def _record_not_sent(command: RecordNotDelivered, policy: Policy) -> Decision:
    fact, template, now = command.fact, command.template, command.now
    match command.outcome:
        case Refused(what="recipient"):
            return _failed(fact, template, NotificationFailureReason.RECIPIENT_REFUSED, now)
        case Refused(what="address"):
            return _failed(fact, template, NotificationFailureReason.ADDRESS_NOT_SUPPORTED, now)
        case Refused():
            return _failed(fact, template, NotificationFailureReason.MESSAGE_REFUSED, now)
        case Unknown():
            return _failed(fact, template, NotificationFailureReason.DELIVERY_UNKNOWN, now)
        case Unanswered(text=text):
            return _look_up_again(command, text, policy)
        case Deferred():
            return _try_again(command, policy)
        case _:
            assert_never(command.outcome)


def _settle(command: SettleMessage) -> Decision:
    """Take a person's word. Nobody saw the bytes: the hash is that of none."""
    outcome = command.outcome
    who: dict[str, Any] = {"settled_by": command.by, "settlement_reason": command.reason}
    identity = _identity(command.fact, command.template)
    if outcome == "not_sent":
        reason = NotificationFailureReason.DEADLINE_PASSED
        failed = NotificationFailed(**identity, **who, reason=reason, failed_at=command.now)
        return Decision(events=(failed,))
    sent = NotificationSent(
        **identity,
        **who,
        locale=_NO_LANGUAGE,
        message_id=outcome.reference,
        message_sha256=_NO_BYTES,
        sent_at=outcome.sent_at,
    )
    return Decision(events=(sent,))


def _try_again(command: RecordNotDelivered, policy: Policy) -> Decision:
    """Try again until the deadline, which begins with the first attempt that was put off."""
    fact, now = command.fact, command.now
    send_by = fact.send_by or now + policy.send_deadline
    if now >= send_by:
        return _failed(
            fact, command.template, NotificationFailureReason.DEADLINE_PASSED, command.now
        )
    due_at = min(now + policy.pause_after(command.attempt), send_by)
    return Decision(effects=(Retry(due_at, payload=fact.to_send_by(send_by).payload()),))


def _look_up_again(command: RecordNotDelivered, text: SentText, policy: Policy) -> Decision:
    """Ask again what became of it, and never send it again: it may have been accepted."""
    fact, now = command.fact, command.now
    look_up_by = fact.look_up_by or now + policy.look_up_deadline
    if now >= look_up_by:
        return _failed(fact, command.template, NotificationFailureReason.DELIVERY_UNKNOWN, now)
    due_at = min(now + policy.pause_after(command.attempt), look_up_by)
    return Decision(effects=(Retry(due_at, payload=fact.to_look_up(text, look_up_by).payload()),))


def _hold_back(command: RecordPostponed, policy: Policy) -> Decision:
    """Wait for the mailbox: the deadline of sending begins when its next turn is due.

    Another mail that tells of this one ends by its own deadline; if it failed, this one asks anew.
    """
    fact, now = command.fact, command.now
    until = command.until or now + policy.pause_after(command.attempt)
    send_by = fact.send_by or until + policy.send_deadline
    ends_at = send_by + policy.send_deadline
    if now >= ends_at:
        return _failed(fact, command.template, NotificationFailureReason.DEADLINE_PASSED, now)
    payload = fact.to_send_by(send_by).payload()
    return Decision(effects=(Retry(min(until, ends_at), payload=payload),))


def _record_suppressed(command: RecordInDigest) -> Decision:
    event = NotificationSuppressed(
        **_identity(command.fact, command.template),
        reason=NotificationSuppressionReason.RATE_LIMITED,
        digest_notification_id=notification_id(command.digest),
        suppressed_at=command.now,
    )
    return Decision(events=(event,))


def _failed(
    fact: Fact, template: Template, reason: NotificationFailureReason, now: datetime
) -> Decision:
    event = NotificationFailed(**_identity(fact, template), reason=reason, failed_at=now)
    return Decision(events=(event,))


def _identity(fact: Fact, template: Template) -> dict[str, Any]:
    return {
        "account_id": fact.account_id,
        "notification_id": notification_id(notification_key(fact.key, template.channel)),
        "fact_event_id": fact.event_id,
        "fact_type": fact.type,
        "channel": template.channel,
        "template": template.name,
        "template_version": template.version,
    }

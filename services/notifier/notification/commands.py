"""What may be asked of a notification. Each command brings the time; none brings an address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from schemas.requests import Channel
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import (
    Deferred,
    Refused,
    Report,
    SentText,
    Unanswered,
    Unknown,
)
from services.notifier.notification.reports import AwaitedReport


@dataclass(frozen=True, slots=True)
class Template:
    """Which text of a channel told, or would have told, of the fact."""

    channel: Channel
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Notify:
    """A fact that the customer is to be told of."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class NotifyBy:
    """The same, by one channel: sent on to its stream."""

    fact: Fact
    channel: Channel


@dataclass(frozen=True, slots=True)
class ReleaseHeld:
    """The contact of an account has arrived or changed."""

    account_id: str


@dataclass(frozen=True, slots=True)
class KeepAside:
    """A contact that may count later, or no more: the projection keeps or forgets it."""


@dataclass(frozen=True, slots=True)
class NotWanted:
    """The customer does not want messages of this channel."""

    fact: Fact
    template: Template


@dataclass(frozen=True, slots=True)
class RecordNoContact:
    """There is no contact yet."""

    fact: Fact
    template: Template
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordDelivered:
    """The channel took over the message."""

    fact: Fact
    template: Template
    text: SentText
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordNotDelivered:
    """The channel refused the message or put it off, or the outcome is unknown."""

    fact: Fact
    template: Template
    outcome: Refused | Deferred | Unknown | Unanswered
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordPostponed:
    """The recipient had too many: it is asked again at `until`, or soon, when that is None."""

    fact: Fact
    template: Template
    until: datetime | None
    attempt: int
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordInDigest:
    """The message about the fact with the key `digest` told of this one too."""

    fact: Fact
    template: Template
    digest: UUID
    now: datetime


@dataclass(frozen=True, slots=True)
class FoundSent:
    """A person found the message accepted, under a reference of the other side."""

    reference: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class SettleMessage:
    """A person says what became of a message."""

    fact: Fact
    template: Template
    outcome: FoundSent | Literal["not_sent"]
    by: str
    reason: str
    now: datetime


@dataclass(frozen=True, slots=True)
class RecordReport:
    """A channel was asked whether a message arrived."""

    awaited: AwaitedReport
    found: Report
    attempt: int
    now: datetime


Command = (
    Notify
    | NotifyBy
    | RecordReport
    | ReleaseHeld
    | KeepAside
    | NotWanted
    | RecordNoContact
    | RecordDelivered
    | RecordNotDelivered
    | RecordPostponed
    | RecordInDigest
    | SettleMessage
)

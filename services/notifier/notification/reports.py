"""Reports of what arrived, which some channels have: what is asked about, and from when. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self
from uuid import UUID

from schemas.envelope import Identifier, Part, ShortText, UtcDatetime
from schemas.notifier import NotificationSent
from schemas.requests import Channel
from services.notifier.notification.policy import Policy
from services.runtime.effect import Start

REPORTING: Final = frozenset({Channel.SMS})
"""The channels that report what arrived: after NotificationSent, a stream of one waits for that."""


class AwaitedReport(Part):
    """A message that was accepted. Nobody is asked about it after `until`."""

    account_id: Identifier
    notification_id: Identifier
    fact_event_id: UUID
    fact_type: ShortText
    channel: Channel
    template: Identifier
    template_version: Identifier
    message_id: ShortText
    until: UtcDatetime

    @classmethod
    def of(cls, sent: NotificationSent, until: datetime) -> Self:
        """Take what the report will need from the event that it follows."""
        fields = sent.model_dump(include=set(cls.model_fields) - {"until"})
        return cls(**fields, until=until)


def is_reported(sent: NotificationSent) -> bool:
    """Say whether a report follows: what a person settled is not asked about."""
    return sent.channel in REPORTING and sent.settled_by is None


def report_kind(channel: Channel) -> str:
    """Return the kind of the effect that asks a channel for its reports."""
    return f"{channel}_report"


def report_effect(sent: NotificationSent, policy: Policy) -> Start:
    """Ask what became of a message that was just accepted."""
    report = AwaitedReport.of(sent, sent.sent_at + policy.report_deadline)
    kind = report_kind(sent.channel)
    return Start(
        f"{kind}/{sent.notification_id}",
        kind,
        report.model_dump(mode="json"),
        sent.sent_at + policy.report_first,
    )

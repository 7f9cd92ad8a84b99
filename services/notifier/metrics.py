"""What is counted about the events of the notifier."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

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
from services.notifier.notification.reports import REPORTING
from services.notifier.notification.templates import TEMPLATE_OF
from services.runtime.event_counter import EventCounter

_OUTCOMES: Final = (
    ("sent", ""),
    *(("failed", reason.value) for reason in NotificationFailureReason),
    *(("suppressed", reason.value) for reason in NotificationSuppressionReason),
)
_REPORTS: Final = (
    ("delivered", ""),
    *(("undelivered", reason.value) for reason in UndeliveredReason),
)


def _of(event: Any, *outcome: str) -> tuple[str, ...]:  # noqa: ANN401 - any event of the notifier
    return (str(event.channel), event.template, *outcome)


NOTIFICATIONS: Final = EventCounter(
    name="notifier_notifications",
    meaning="Messages by channel, template and outcome; the reason is empty for `sent`."
    " `suppressed`: told in another message, since the recipient had too many. What a channel reports"
    " of a message that was sent is counted beside that, as `delivered` or `undelivered`.",
    labels=("channel", "template", "outcome", "reason"),
    series=frozenset(
        (channel, template, *outcome)
        for channel, outcomes in (
            *((channel, _OUTCOMES) for channel in Channel),
            *((channel, _REPORTS) for channel in REPORTING),
        )
        for template, outcome in product(TEMPLATE_OF.values(), outcomes)
    ),
    count={
        NotificationSent: lambda event: (_of(event, "sent", ""), 1),
        NotificationFailed: lambda event: (_of(event, "failed", event.reason), 1),
        NotificationSuppressed: lambda event: (_of(event, "suppressed", event.reason), 1),
        NotificationDelivered: lambda event: (_of(event, "delivered", ""), 1),
        NotificationUndelivered: lambda event: (_of(event, "undelivered", event.reason), 1),
    },
)
COUNTERS: Final = (NOTIFICATIONS,)

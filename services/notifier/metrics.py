"""What is counted about the events of the notifier."""

from __future__ import annotations

from itertools import product
from typing import Final

from schemas.notifier import (
    NotificationFailed,
    NotificationFailureReason,
    NotificationSent,
    NotificationSuppressed,
    NotificationSuppressionReason,
)
from services.notifier.notification.templates import TEMPLATE_OF
from services.runtime.event_counter import EventCounter

_OUTCOMES: Final = (
    ("sent", ""),
    *(("failed", reason.value) for reason in NotificationFailureReason),
    *(("suppressed", reason.value) for reason in NotificationSuppressionReason),
)

NOTIFICATIONS: Final = EventCounter(
    name="notifier_notifications",
    meaning="Emails by template and outcome; the reason is empty for `sent`. `suppressed`: told in"
    " another email, since the mailbox had too many.",
    labels=("template", "outcome", "reason"),
    series=frozenset(
        (template, *outcome) for template, outcome in product(TEMPLATE_OF.values(), _OUTCOMES)
    ),
    count={
        NotificationSent: lambda event: ((event.template, "sent", ""), 1),
        NotificationFailed: lambda event: ((event.template, "failed", event.reason), 1),
        NotificationSuppressed: lambda event: ((event.template, "suppressed", event.reason), 1),
    },
)
COUNTERS: Final = (NOTIFICATIONS,)

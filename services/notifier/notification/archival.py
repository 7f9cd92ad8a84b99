"""Notifications whose events are in files: they are settled, and stay so. PURE."""

from __future__ import annotations

from typing import Final

from services.notifier.notification.evolution import (
    NotificationState,
    Settled,
    evolve,
    initial_state,
)
from services.notifier.notification.identities import KIND
from services.runtime.effect import JsonObject
from services.runtime.processor import Archival, StreamKind


def is_over(state: NotificationState) -> bool:
    """Say whether the customer was told, or never will be, and no report is to come."""
    return isinstance(state, Settled)


def remains(_state: NotificationState) -> JsonObject:
    """Return nothing: that there is a row says that the notification is settled."""
    return {}


def restored(_content: JsonObject) -> NotificationState:
    """Return that nothing follows."""
    return Settled()


NOTIFICATION_STREAMS: Final[StreamKind[NotificationState]] = StreamKind(
    KIND, initial_state, evolve, archival=Archival(is_over, remains, restored)
)
"""One stream for each fact that a customer is told by a channel, and one for the fact."""

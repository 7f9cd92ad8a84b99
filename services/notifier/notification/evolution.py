"""What the past says of one notification: nothing yet, sent, or settled for good. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.envelope import Event
from schemas.notifier import NotificationSent
from services.notifier.notification.reports import is_reported


@dataclass(frozen=True, slots=True)
class Untold:
    """The customer has not been told, as far as the log knows."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The message was accepted, and the channel will report whether it arrived."""

    event: NotificationSent


@dataclass(frozen=True, slots=True)
class Settled:
    """The message was sent, given up, or told in another one; nothing follows."""


NotificationState = Untold | Sent | Settled


def initial_state() -> NotificationState:
    """Return the state before any event."""
    return Untold()


def evolve(_state: NotificationState, event: Event) -> NotificationState:
    """Fold one event: all of them are the last word, but one whose report is still to come."""
    if isinstance(event, NotificationSent) and is_reported(event):
        return Sent(event)
    return Settled()

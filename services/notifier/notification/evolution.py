"""What the past says of one notification: nothing yet, or settled for good. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.envelope import Event


@dataclass(frozen=True, slots=True)
class Untold:
    """The customer has not been told, as far as the log knows."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The email was sent, given up, or told in another one; nothing follows."""


NotificationState = Untold | Settled


def initial_state() -> NotificationState:
    """Return the state before any event."""
    return Untold()


def evolve(_state: NotificationState, _event: Event) -> NotificationState:
    """Fold one event: NotificationSent, NotificationFailed, NotificationSuppressed are the last word."""
    return Settled()

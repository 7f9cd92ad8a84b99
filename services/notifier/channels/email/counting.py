"""A channel that delivers nothing and counts, to measure the rest of the notifier."""

from __future__ import annotations

from services.notifier.channels.email.channel import DOT_SENT, OutgoingEmail
from services.notifier.notification.outcomes import Delivered, DeliveryOutcome
from services.runtime.processor import Mark


class CountingChannel:
    """Accepts every message and forgets it; `accepted` counts them."""

    def __init__(self) -> None:
        self.accepted = 0

    async def send(self, _mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        """Do what a real channel costs the database, and no more."""
        await mark(DOT_SENT)
        self.accepted += 1
        return Delivered()

    async def close(self) -> None:
        """Hold nothing, so give up nothing."""

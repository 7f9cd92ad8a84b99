"""The port for SMS: one message in, one outcome out, and a question what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from services.notifier.channels.sms.segments import Encoding
from services.notifier.notification.outcomes import Arrived, DeliveryOutcome, Lost

REQUEST_SENT: Final = "request_sent"
"""The checkpoint after which only the aggregator knows whether it has the message."""


@dataclass(frozen=True, slots=True)
class OutgoingSms:
    """One text to one number; the aggregator sends what it gets under one `message_id` once."""

    message_id: str
    sender: str
    recipient: str = field(repr=False)
    text: str = field(repr=False)
    encoding: Encoding
    segments: int


@dataclass(frozen=True, slots=True)
class Underway:
    """The aggregator has the message, and no report yet."""


@dataclass(frozen=True, slots=True)
class NoSuchMessage:
    """The aggregator does not know the message."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing is known: it did not say."""


Status = Underway | Arrived | Lost | NoSuchMessage | NoAnswer


class SmsChannel(Protocol):
    """Hands messages to an aggregator."""

    async def send(self, sms: OutgoingSms) -> DeliveryOutcome:
        """Hand over one message. What is not answered is `Unknown`, and may have been taken."""

    async def look_up(self, message_id: str) -> Status:
        """Return what became of a message."""

    async def close(self) -> None:
        """Give up connections."""

"""The port for email: one message in, one outcome out, and a mark before the point of no return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from services.notifier.notification.outcomes import DeliveryOutcome
from services.runtime.processor import Mark

DOT_SENT: Final = "dot_sent"
"""The checkpoint after which only the mail server knows whether it has the message."""


@dataclass(frozen=True, slots=True)
class OutgoingEmail:
    """The finished bytes (CRLF lines, not dot-stuffed) and their envelope."""

    message_id: str
    sender: str
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)


class EmailChannel(Protocol):
    """Hands messages to a mail server."""

    async def send(self, mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        """Hand over one message, with `mark(DOT_SENT)` just before it can count as accepted."""

    async def close(self) -> None: ...

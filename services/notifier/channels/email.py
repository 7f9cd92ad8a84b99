"""The port for email: one message in, one outcome out, and a mark before the point of no return."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Protocol

from services.runtime.processor import Mark

DOT_SENT: Final = "dot_sent"
"""The checkpoint after which only the mail server knows whether it has the message."""


@dataclass(frozen=True, slots=True)
class Mail:
    """The finished bytes (CRLF lines, not dot-stuffed) and their envelope."""

    message_id: str
    sender: str
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)


class DeferralCause(StrEnum):
    """Why a message was not accepted this time, although it may be later."""

    UNREACHABLE = "unreachable"
    LOGIN_REFUSED = "login_refused"
    SENDER_REFUSED = "sender_refused"
    BUSY = "busy"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The mail server has taken over the message."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The mail server will never take this message, or nothing for this recipient.

    `address`: it takes none that is not ASCII before the @ (it announces no SMTPUTF8).
    """

    what: Literal["recipient", "message", "address"]


@dataclass(frozen=True, slots=True)
class Deferred:
    """The mail server certainly does not have the message; another attempt is safe."""

    cause: DeferralCause
    smtp_code: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The message went out whole and no answer came: it may have been accepted."""


DeliveryOutcome = Delivered | Refused | Deferred | Unknown


class EmailChannel(Protocol):
    """Hands messages to a mail server."""

    async def send(self, mail: Mail, mark: Mark) -> DeliveryOutcome:
        """Hand over one message, with `mark(DOT_SENT)` just before it can count as accepted."""

    async def close(self) -> None:
        """Give up connections."""

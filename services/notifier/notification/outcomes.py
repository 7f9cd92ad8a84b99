"""What may become of a message that is handed to a channel: the same for all channels. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from schemas.notifier import UndeliveredReason


class DeferralCause(StrEnum):
    """Why a message was not accepted this time, although it may be later."""

    UNREACHABLE = "unreachable"
    LOGIN_REFUSED = "login_refused"
    SENDER_REFUSED = "sender_refused"
    BUSY = "busy"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The other side has taken over the message."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side will never take this message, or nothing for this recipient.

    `address`: it takes none of this kind (a mail server without SMTPUTF8 none that is not ASCII).
    """

    what: Literal["recipient", "message", "address"]


@dataclass(frozen=True, slots=True)
class Deferred:
    """The other side certainly does not have the message; another attempt is safe.

    `code` is what it answered, in its own protocol.
    """

    cause: DeferralCause
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The message went out whole and no answer came: it may have been accepted."""


@dataclass(frozen=True, slots=True)
class SentText:
    """What identifies the message that went to the channel, without its contents."""

    locale: str
    message_id: str
    message_sha256: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """As `Unknown`, and the other side can be asked what became of it: that is not known yet."""

    text: SentText


DeliveryOutcome = Delivered | Refused | Deferred | Unknown | Unanswered


@dataclass(frozen=True, slots=True)
class Arrived:
    """The channel reports that the customer has the message."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Lost:
    """The channel reports that it will not arrive."""

    reason: UndeliveredReason
    at: datetime


Report = Arrived | Lost | None
"""None: there is none yet, or nobody answered."""

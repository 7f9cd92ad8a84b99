"""What may become of a message that is handed to a channel: the same for all channels. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


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


DeliveryOutcome = Delivered | Refused | Deferred | Unknown

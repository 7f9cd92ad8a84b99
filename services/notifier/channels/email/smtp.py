"""Email over SMTP (RFC 5321): what each answer of the mail server means for the message."""

from __future__ import annotations

from typing import Final, Literal

import aiosmtplib

from services.notifier.channels.email.channel import DOT_SENT, OutgoingEmail
from services.notifier.channels.email.smtp_connections import Connections, SmtpSession, Unreachable
from services.notifier.notification.outcomes import (
    DeferralCause,
    Deferred,
    Delivered,
    DeliveryOutcome,
    Refused,
    Unknown,
)
from services.runtime.errors import Transient
from services.runtime.processor import Mark

_START_INPUT: Final = 354
_ABOUT_US: Final = frozenset({502, 503, 530, 534, 535, 538})
"""Answers that refuse our session, whoever the recipient is (RFC 5321, 4.2.2; RFC 4954, 6)."""
_TRANSIENT_FAILURES: Final = range(400, 500)
_PERMANENT_FAILURES: Final = range(500, 600)
_SUCCESSES: Final = range(200, 300)


class SmtpChannel:
    """Implements `EmailChannel` on connections that are kept open between messages."""

    def __init__(self, connections: Connections, *, answer_timeout_seconds: float) -> None:
        """Wait `answer_timeout_seconds` for the answer to the final dot (RFC 5321, 4.5.3.2.6)."""
        self._connections = connections
        self._answer_timeout_seconds = answer_timeout_seconds

    async def send(self, mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        """Hand over one message; commit the mark after its text and before its final dot."""
        try:
            async with self._connections.session() as session:
                return await self._send(session, mail, mark)
        except Unreachable as error:
            return Deferred(error.cause, error.smtp_code)

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        await self._connections.close()

    async def _send(self, session: SmtpSession, mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        try:
            refusal = await _announce(session, mail)
            if refusal is not None:
                await session.reset()
                return refusal
            session.write_content(mail.content)
            await mark(DOT_SENT)
            session.write_dot()
        except (aiosmtplib.SMTPException, OSError, Transient):
            # Without the final dot the server must discard what it has (RFC 5321, 4.1.1.4).
            session.discard()
            return Deferred(DeferralCause.INTERRUPTED)
        try:
            code = await session.answer(self._answer_timeout_seconds)
        except (aiosmtplib.SMTPException, OSError):
            session.discard()
            return Unknown()
        outcome = _answer_to_message(code)
        if isinstance(outcome, Unknown):
            session.discard()
        return outcome


async def _announce(session: SmtpSession, mail: OutgoingEmail) -> DeliveryOutcome | None:
    """Send MAIL, RCPT and DATA; return None when the server waits for the text."""
    international = not mail.recipient.isascii()
    if international and not await session.takes_utf8():
        return Refused("address")
    try:
        await session.begin(mail.sender, international=international)
        await session.client.rcpt(mail.recipient, encoding="utf-8" if international else "ascii")
    except aiosmtplib.SMTPSenderRefused as error:
        busy = error.code in _TRANSIENT_FAILURES
        cause = DeferralCause.BUSY if busy else DeferralCause.SENDER_REFUSED
        return Deferred(cause, error.code)
    except aiosmtplib.SMTPRecipientRefused as error:
        return _refusal(error.code, "recipient")
    start = await session.client.execute_command(b"DATA")
    return None if start.code == _START_INPUT else _refusal(start.code, "message")


def _answer_to_message(code: int) -> DeliveryOutcome:
    if code in _SUCCESSES:
        return Delivered()
    if code in _TRANSIENT_FAILURES or code in _PERMANENT_FAILURES:
        return _refusal(code, "message")
    return Unknown()


def _refusal(code: int, what: Literal["recipient", "message"]) -> DeliveryOutcome:
    if code in _ABOUT_US:
        return Deferred(DeferralCause.SENDER_REFUSED, code)
    if code in _PERMANENT_FAILURES:
        return Refused(what)
    return Deferred(DeferralCause.BUSY, code)

"""A few SMTP connections, kept open between messages and replaced when the server closed them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from services.notifier.notification.outcomes import DeferralCause

_CLOSING: Final = 421
_LINE_BEGINS_WITH_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_REST_SECONDS: Final = 5.0
"""After a failed attempt to connect, others fail at once for so long and do not queue up."""
_GOODBYE_SECONDS: Final = 2.0


class Unreachable(Exception):
    """No connection could be had; nothing was sent."""

    def __init__(self, cause: DeferralCause, smtp_code: int | None = None) -> None:
        """Keep the cause, and the server's answer when it gave one."""
        super().__init__(cause)
        self.cause = cause
        self.smtp_code = smtp_code


class SmtpSession:
    """One connection lent to one message."""

    def __init__(self, connections: Connections, client: aiosmtplib.SMTP, *, reused: bool) -> None:
        """Use `client`; a reused one may have been closed by the server without our noticing."""
        self._connections = connections
        self._reused = reused
        self.client = client

    async def begin(self, sender: str, *, international: bool = False) -> None:
        """Send MAIL FROM, once more on a new connection when the kept one turns out to be dead.

        `international`: the recipient or a header is not ASCII (RFC 6531).

        Raises:
            aiosmtplib.SMTPSenderRefused: the server answered no.
            Unreachable: the kept connection was dead and no new one could be had.
        """
        options = ("SMTPUTF8", "BODY=8BITMIME") if international else ()
        try:
            await self.client.mail(sender, options=options)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPSenderRefused) as error:
            closed = not isinstance(error, aiosmtplib.SMTPSenderRefused) or error.code == _CLOSING
            if not (self._reused and closed):
                raise
            self.discard()
            self.client = await self._connections.connect()
            self._reused = False
            await self.client.mail(sender, options=options)

    async def takes_utf8(self) -> bool:
        """Say whether the server takes addresses in any script (RFC 6531)."""
        if self.client.last_ehlo_response is None:
            with suppress(aiosmtplib.SMTPHeloError):
                await self.client.ehlo()
        return self.client.supports_extension("smtputf8")

    def write_content(self, content: bytes) -> None:
        """Write the message without its final dot, dot-stuffed (RFC 5321, 4.5.2)."""
        self._protocol().write(_LINE_BEGINS_WITH_DOT.sub(b"..", content))

    def write_dot(self) -> None:
        """End the message; `answer` must follow without a pause in between."""
        self._protocol().write(b".\r\n")

    async def answer(self, timeout_seconds: float) -> int:
        """Return the code of the answer to the final dot."""
        response = await self._protocol().read_response(timeout=timeout_seconds)
        return response.code

    async def reset(self) -> None:
        """Make the connection fit for the next message, or give it up."""
        try:
            await self.client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self.discard()

    def discard(self) -> None:
        """Close without a goodbye: what was begun is void."""
        self.client.close()

    def _protocol(self) -> SMTPProtocol:
        if self.client.protocol is None:
            message = "the connection was lost"
            raise aiosmtplib.SMTPServerDisconnected(message)
        return self.client.protocol


class Connections:
    """At most `limit` connections; the one used last is used first."""

    def __init__(self, new_client: Callable[[], aiosmtplib.SMTP], *, limit: int) -> None:
        self._new_client = new_client
        self._slots = asyncio.Semaphore(limit)
        self._idle: list[aiosmtplib.SMTP] = []
        self._last_failure: tuple[DeferralCause, int | None] | None = None
        self._resting_until = 0.0

    @asynccontextmanager
    async def session(self) -> AsyncIterator[SmtpSession]:
        """Lend a connection; after an error or a cancellation it is not used again.

        Raises:
            Unreachable: none could be had.
        """
        async with self._slots:
            while self._idle and not self._idle[-1].is_connected:
                self._idle.pop()
            reused = bool(self._idle)
            client = self._idle.pop() if reused else await self.connect()
            session = SmtpSession(self, client, reused=reused)
            try:
                yield session
            except BaseException:
                session.discard()
                raise
            if session.client.is_connected:
                self._idle.append(session.client)

    async def connect(self) -> aiosmtplib.SMTP:
        """Open a connection, with TLS and login as configured.

        Raises:
            Unreachable: the server is away, or refuses TLS or the login, or did so just now.
        """
        now = asyncio.get_running_loop().time
        if self._last_failure is not None and now() < self._resting_until:
            raise Unreachable(*self._last_failure)
        client = self._new_client()
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            self._last_failure = _cause(error)
            self._resting_until = now() + _REST_SECONDS
            raise Unreachable(*self._last_failure) from None
        self._last_failure = None
        return client

    async def close(self) -> None:
        """Say goodbye on the idle connections."""
        idle, self._idle = self._idle, []
        for client in idle:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=_GOODBYE_SECONDS)
            client.close()


def _cause(error: Exception) -> tuple[DeferralCause, int | None]:
    code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return DeferralCause.LOGIN_REFUSED, code
    return DeferralCause.UNREACHABLE, code

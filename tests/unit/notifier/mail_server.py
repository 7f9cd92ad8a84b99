"""A real SMTP server in the test's own event loop, which answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HANG_UP = "hang up"
SILENCE = "silence"


@dataclass
class MailServer:
    """Answers are taken from the front of each list; an empty list means yes."""

    port: int = 0
    mail_answers: list[str] = field(default_factory=list)
    recipient_answers: list[str] = field(default_factory=list)
    message_answers: list[str] = field(default_factory=list)
    messages: list[tuple[str, str, bytes]] = field(default_factory=list)
    texts_seen: int = 0
    connections: int = 0
    transports: list[asyncio.BaseTransport] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.mail_answers.pop(0) if self.mail_answers else "250 OK"
        if answer == HANG_UP:
            _hang_up(server)
            return "421 bye"
        if answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(  # noqa: N802 - as above
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        answer = self.recipient_answers.pop(0) if self.recipient_answers else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802 - as above
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.texts_seen += 1
        answer = self.message_answers.pop(0) if self.message_answers else "250 OK"
        if answer == SILENCE:
            await asyncio.sleep(60)
        if answer == HANG_UP:
            _hang_up(server)
            return "421 bye"
        if answer.startswith("250"):
            assert isinstance(envelope.original_content, bytes)
            sender, recipient = str(envelope.mail_from), envelope.rcpt_tos[0]
            self.messages.append((sender, recipient, envelope.original_content))
        return answer


class _Smtp(SMTP):
    def __init__(self, handler: MailServer, **options: Any) -> None:
        super().__init__(handler, hostname="mx.example.com", **options)
        self._mail_server = handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mail_server.connections += 1
        self._mail_server.transports.append(transport)
        super().connection_made(transport)


def _hang_up(server: SMTP) -> None:
    cast("asyncio.Transport", server.transport).abort()


@asynccontextmanager
async def mail_server(**options: Any) -> AsyncIterator[MailServer]:
    """Serve on a free port; `options` are those of aiosmtpd's SMTP."""
    loop = asyncio.get_running_loop()
    handler = MailServer()
    server = await loop.create_server(lambda: _Smtp(handler, loop=loop, **options), "127.0.0.1", 0)
    handler.port = server.sockets[0].getsockname()[1]
    try:
        yield handler
    finally:
        server.close()
        for transport in handler.transports:
            cast("asyncio.Transport", transport).abort()
        await asyncio.sleep(0.01)
        await server.wait_closed()


def only_password(expected: bytes) -> Any:
    """Return an authenticator for aiosmtpd that accepts one password."""

    def authenticate(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        return AuthResult(success=data.password == expected, handled=False)

    return authenticate

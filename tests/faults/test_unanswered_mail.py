"""The notifier is killed in the middle of a mail: before the last dot it is sent again, never after."""

from __future__ import annotations

import asyncio
import email
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import HOST, choose_ports
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System

COUNT = 5
SETTINGS: dict[str, Any] = {"EFFECT_LEASE_SECONDS": 2, "RETRY_SECONDS": 1}
Silence = Literal["RCPT", "DATA"]


class MailServer:
    """Says nothing at one step of a conversation until told to speak; keeps what it is given."""

    def __init__(self, silent_at: Silence) -> None:
        """Be silent at a step."""
        self._silent_at: Silence | None = silent_at
        self.waiting = 0
        self.message_ids: list[str] = []

    def speak(self) -> None:
        """Answer new conversations; those that wait will never hear."""
        self._silent_at = None

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd calls it
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Note the recipient."""
        await self._answer("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take the message over, whether the client hears of it or not."""
        message = email.message_from_bytes(envelope.original_content or b"")
        self.message_ids.append(message["Message-ID"])
        await self._answer("DATA")
        return "250 OK"

    async def _answer(self, step: Silence) -> None:
        if step == self._silent_at:
            self.waiting += 1
            await asyncio.Event().wait()


@contextmanager
def mail_server(silent_at: Silence, port: int) -> Iterator[MailServer]:
    """Run a mail server."""
    server = MailServer(silent_at)
    controller = Controller(server, hostname=HOST, port=port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


@pytest.fixture
def port(tmp_path: Path) -> int:
    """Return a free port."""
    return choose_ports(tmp_path / "ports", ["mail"])["mail"]


def killed_in_conversation(system: System, server: MailServer, port: int) -> None:
    """Kill the notifier when the server has gone silent, and start it when it speaks again."""
    for service in ("orders", "notifier"):
        more = SETTINGS | {"SMTP_PORT": port} if service == "notifier" else {}
        system.start(service, wait=False, **more)
    renewals = [card_renewal(number, "told", token="tok_ok") for number in range(COUNT)]
    system.publish("RenewalRequested", *renewals)
    system.wait_for("all are under way", lambda: server.waiting == COUNT)
    system.children["notifier"].kill()
    server.speak()
    system.start("notifier", wait=False, SMTP_PORT=port, **SETTINGS)


def test_mail_that_may_have_been_accepted_is_never_sent_again(system: System, port: int) -> None:
    with mail_server("DATA", port) as server:
        killed_in_conversation(system, server, port)
        system.wait_for("all are given up", lambda: failed(system) == ["delivery_unknown"] * COUNT)

    assert len(set(server.message_ids)) == len(server.message_ids) == COUNT
    assert system.events("notifier", "NotificationSent") == []


def test_mail_that_was_not_handed_over_is_sent_once(system: System, port: int) -> None:
    with mail_server("RCPT", port) as server:
        killed_in_conversation(system, server, port)
        system.wait_for("all are sent", lambda: len(sent(system)) == COUNT)

    assert sorted(server.message_ids) == sorted(sent(system))
    assert len(set(server.message_ids)) == COUNT
    assert failed(system) == []


def sent(system: System) -> list[str]:
    """Return the message ids of what the notifier has sent."""
    return [body["message_id"] for body in system.events("notifier", "NotificationSent")]


def failed(system: System) -> list[str]:
    """Return why mails were not sent."""
    return [body["reason"] for body in system.events("notifier", "NotificationFailed")]

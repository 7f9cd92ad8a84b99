"""What each answer of a mail server means, against a real SMTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiosmtplib
import pytest

from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.channels.email.message import build_mail
from services.notifier.channels.email.smtp import SmtpChannel
from services.notifier.channels.email.smtp_connections import Connections
from services.notifier.channels.email.texts import RenderedEmail
from services.notifier.notification.outcomes import (
    DeferralCause,
    Deferred,
    Delivered,
    DeliveryOutcome,
    Refused,
    Unknown,
)
from services.runtime.errors import Transient
from tests.unit.notifier.builders import LETTERHEAD, fact_of
from tests.unit.notifier.mail_server import HANG_UP, SILENCE, MailServer, mail_server, only_password

MAIL = OutgoingEmail(
    message_id="<1@mail.example.com>",
    sender="plans@shop.example.com",
    recipient="lin@example.org",
    content=b"Subject: hello\r\n\r\n.first\r\n..second\r\nlast\r\n",
)


class Marks:
    """Stands for the checkpoint in the database; `seen` holds what the server had at that time."""

    def __init__(self, server: MailServer | None = None, error: Exception | None = None) -> None:
        self._server, self._error = server, error
        self.made: list[str] = []
        self.texts_seen: list[int] = []

    async def __call__(self, checkpoint: str) -> None:
        # Whatever the server got until here, it has had the time to take in.
        await asyncio.sleep(0.05)
        self.made.append(checkpoint)
        if self._server is not None:
            self.texts_seen.append(self._server.texts_seen)
        if self._error is not None:
            raise self._error


def smtp_channel(port: int, *, limit: int = 2, password: str | None = None) -> SmtpChannel:
    def new_client() -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=port,
            timeout=2,
            use_tls=False,
            start_tls=False,
            username=None if password is None else "plans",
            password=password,
        )

    return SmtpChannel(Connections(new_client, limit=limit), answer_timeout_seconds=0.3)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


@pytest.fixture
async def channel(server: MailServer) -> AsyncIterator[SmtpChannel]:
    opened = smtp_channel(server.port)
    yield opened
    await opened.close()


async def test_an_accepted_message_arrives_byte_for_byte(
    server: MailServer, channel: SmtpChannel
) -> None:
    assert await channel.send(MAIL, Marks()) == Delivered()
    assert server.messages == [(MAIL.sender, MAIL.recipient, MAIL.content)]


INTERNATIONAL = build_mail(
    fact_of(),
    RenderedEmail("Top-up received", "text", "<p>text</p>", "top_up_confirmed", "1", "en"),
    "林.zoë+plans@xn--r8jz45g.jp",
    LETTERHEAD,
)


async def test_an_address_in_any_script_is_written_to_where_the_server_takes_it() -> None:
    async with mail_server(enable_SMTPUTF8=True) as server:
        channel = smtp_channel(server.port)
        for mail in (INTERNATIONAL, MAIL, INTERNATIONAL):
            assert await channel.send(mail, Marks()) == Delivered()
        await channel.close()
    assert server.messages == [
        (mail.sender, mail.recipient, mail.content) for mail in (INTERNATIONAL, MAIL, INTERNATIONAL)
    ]
    assert "To: 林.zoë+plans@xn--r8jz45g.jp\r\n".encode() in INTERNATIONAL.content


async def test_an_address_in_any_script_is_refused_where_the_server_does_not_take_it(
    server: MailServer, channel: SmtpChannel
) -> None:
    marks = Marks()
    assert await channel.send(INTERNATIONAL, marks) == Refused("address")
    assert await channel.send(MAIL, marks) == Delivered()
    assert marks.made == ["dot_sent"]
    assert [message[1] for message in server.messages] == [MAIL.recipient]


async def test_the_mark_is_made_after_the_text_and_before_the_server_can_accept_it(
    server: MailServer, channel: SmtpChannel
) -> None:
    marks = Marks(server)
    await channel.send(MAIL, marks)
    assert marks.made == ["dot_sent"]
    assert marks.texts_seen == [0]
    assert server.texts_seen == 1


async def test_one_connection_carries_many_messages(
    server: MailServer, channel: SmtpChannel
) -> None:
    for _ in range(5):
        assert await channel.send(MAIL, Marks()) == Delivered()
    assert server.connections == 1
    assert len(server.messages) == 5


async def test_no_more_connections_than_allowed_are_open_at_once(
    server: MailServer, channel: SmtpChannel
) -> None:
    outcomes = await asyncio.gather(*(channel.send(MAIL, Marks()) for _ in range(10)))
    assert outcomes == [Delivered()] * 10
    assert server.connections == 2


async def test_a_busy_server_defers_the_message_and_takes_it_later(
    server: MailServer, channel: SmtpChannel
) -> None:
    server.recipient_answers = ["451 4.7.1 greylisted"]
    assert await channel.send(MAIL, Marks()) == Deferred(DeferralCause.BUSY, 451)
    assert await channel.send(MAIL, Marks()) == Delivered()
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({"mail_answers": ["553 5.7.1 not yours"]}, Deferred(DeferralCause.SENDER_REFUSED, 553)),
        ({"mail_answers": ["452 4.3.1 full"]}, Deferred(DeferralCause.BUSY, 452)),
        ({"recipient_answers": ["550 5.1.1 nobody"]}, Refused("recipient")),
        (
            {"recipient_answers": ["530 5.7.0 log in first"]},
            Deferred(DeferralCause.SENDER_REFUSED, 530),
        ),
        ({"message_answers": ["554 5.6.0 spam"]}, Refused("message")),
        ({"message_answers": ["451 4.3.0 later"]}, Deferred(DeferralCause.BUSY, 451)),
        ({"message_answers": ["354 what"]}, Unknown()),
        ({"message_answers": [SILENCE]}, Unknown()),
        ({"message_answers": [HANG_UP]}, Unknown()),
    ],
)
async def test_each_answer_has_one_meaning_and_spoils_no_later_message(
    server: MailServer,
    channel: SmtpChannel,
    answers: dict[str, list[str]],
    outcome: DeliveryOutcome,
) -> None:
    for name, value in answers.items():
        setattr(server, name, list(value))
    assert await channel.send(MAIL, Marks()) == outcome
    assert server.messages == []
    assert await channel.send(MAIL, Marks()) == Delivered()
    assert len(server.messages) == 1


async def test_a_mark_that_cannot_be_committed_leaves_the_message_unsent(
    server: MailServer, channel: SmtpChannel
) -> None:
    marks = Marks(error=Transient("the database is away"))
    assert await channel.send(MAIL, marks) == Deferred(DeferralCause.INTERRUPTED)
    await asyncio.sleep(0.05)
    assert server.texts_seen == 0


async def test_a_cancelled_message_is_not_finished_by_the_next_one(
    server: MailServer, channel: SmtpChannel
) -> None:
    async def never(checkpoint: str) -> None:
        assert checkpoint == "dot_sent"
        await asyncio.sleep(60)

    sending = asyncio.create_task(channel.send(MAIL, never))
    await asyncio.sleep(0.1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await channel.send(MAIL, Marks()) == Delivered()
    assert server.texts_seen == 1
    assert server.connections == 2


@pytest.mark.parametrize("goodbye", [HANG_UP, "421 4.4.2 idle for too long"])
async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    server: MailServer, channel: SmtpChannel, goodbye: str
) -> None:
    assert await channel.send(MAIL, Marks()) == Delivered()
    server.mail_answers = [goodbye]
    assert await channel.send(MAIL, Marks()) == Delivered()
    assert server.connections == 2
    assert len(server.messages) == 2


async def test_nobody_listening_defers_the_message() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    channel = smtp_channel(port)
    assert await channel.send(MAIL, Marks()) == Deferred(DeferralCause.UNREACHABLE)


async def test_a_refused_login_defers_the_message() -> None:
    async with mail_server(auth_require_tls=False, authenticator=only_password(b"right")) as server:
        wrong = smtp_channel(server.port, password="wrong")
        assert await wrong.send(MAIL, Marks()) == Deferred(DeferralCause.LOGIN_REFUSED, 535)
        right = smtp_channel(server.port, password="right")
        assert await right.send(MAIL, Marks()) == Delivered()
        await right.close()

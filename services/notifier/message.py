"""Puts a rendered email into the bytes that go to the mail server: the same bytes every time."""

from __future__ import annotations

import hashlib
import re
from base64 import encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from typing import Any, Final

from services.notifier.channels.email import Mail
from services.notifier.emails import RenderedEmail
from services.notifier.facts import Fact

_HEADERS: Final = (
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
)
_UNFOLDED: Final = SMTP.clone(max_line_length=998)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BARE_LINE_END: Final = re.compile(r"(?<!\r)\n|\r(?!\n)")


class UnsafeMessage(Exception):
    """The message is not what was meant: something in it became a header or ended a line."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """Who writes: the same in every message."""

    from_address: str
    from_name: str
    reply_to: str | None
    message_id_domain: str

    def message_id(self, fact: Fact) -> str:
        """Return the Message-ID: one for each fact, whatever happens to its emails."""
        return f"<{fact.event_id}@{self.message_id_domain}>"


def build_mail(fact: Fact, rendered: RenderedEmail, recipient: str, letterhead: Letterhead) -> Mail:
    """Return the message about `fact`, dated when it happened (RFC 5322, RFC 3834).

    Raises:
        UnsafeMessage: the bytes do not read back as the headers that were set.
    """
    # Neither of the two encodings of a part can produce "=_", so the boundary is in no part.
    boundary = f"=_{fact.event_id.hex}"
    message_id = letterhead.message_id(fact)
    head = (
        f"{_sender_lines(letterhead)}{_customer_lines(recipient, rendered.subject)}"
        f"Date: {format_datetime(fact.occurred_at)}\r\n"
        f"Message-ID: {message_id}\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "X-Auto-Response-Suppress: All\r\n"
        f"Content-Language: {rendered.locale}\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
    )
    _check(head, letterhead)
    body = (
        f"--{boundary}\r\n{_part('plain', rendered.text)}\r\n"
        f"--{boundary}\r\n{_part('html', rendered.html)}\r\n"
        f"--{boundary}--\r\n"
    )
    content = f"{head}{body}".encode("ascii")
    return Mail(message_id, letterhead.from_address, recipient, content)


def sha256_of(mail: Mail) -> str:
    """Return the digest of the exact bytes that the mail server is given, before dot-stuffing."""
    return hashlib.sha256(mail.content).hexdigest()


@cache
def _sender_lines(letterhead: Letterhead) -> str:
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(letterhead.from_name, addr_spec=letterhead.from_address)
    if letterhead.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=letterhead.reply_to)
    return "".join(_folded(header) for header in message.values())


def _customer_lines(recipient: str, subject: str) -> str:
    message = EmailMessage(policy=SMTP)
    try:
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = subject
    except ValueError:
        text = "a header value holds a line break, or the recipient is no address"
        raise UnsafeMessage(text) from None
    return "".join(_folded(header) for header in message.values())


def _folded(header: Any) -> str:  # noqa: ANN401 - the standard library makes its class as it goes
    """Return a header as lines; only encoded words, at most 75 characters each, need several.

    The standard library would begin a long ASCII header with an empty line, which reads badly.
    """
    lines: str = header.fold(policy=_UNFOLDED if header.isascii() else SMTP)
    return lines


def _part(subtype: str, text: str) -> str:
    """Return one text with its own headers, in lines that every mail server can carry.

    English stays legible; Chinese would be three times as long in the same encoding.
    """
    data = _LINE_END.sub("\r\n", text).encode()
    if text.isascii():
        encoding, body = "quoted-printable", b2a_qp(data)
    else:
        encoding, body = "base64", encodebytes(data).replace(b"\n", b"\r\n")
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n{body.decode('ascii')}"
    )


def _check(head: str, letterhead: Letterhead) -> None:
    """Read the headers back: one that nobody set, or a bare CR or LF, was smuggled in."""
    wanted = [name for name in _HEADERS if name != "Reply-To" or letterhead.reply_to is not None]
    read_back = HeaderParser(policy=SMTP).parsestr(head)
    if read_back.keys() != wanted or _BARE_LINE_END.search(head):
        text = "the message does not read back as the headers that were set"
        raise UnsafeMessage(text)

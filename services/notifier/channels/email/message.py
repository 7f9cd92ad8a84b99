"""Puts a rendered email into the bytes that go to the mail server: the same bytes every time."""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64, b2a_qp
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache, lru_cache
from typing import Any, Final

from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.channels.email.texts import RenderedEmail
from services.notifier.channels.email.texts.house import NOBODY, House
from services.notifier.notification.facts import Fact

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
_PLAIN_ADDRESS: Final = re.compile(
    r"(?=.{1,254}\Z)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
)
_INTERNATIONAL_ADDRESS: Final = re.compile(
    r"(?=.{1,254}\Z)[\w+.-]*[^\W\x00-\x7f][\w+.-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
)
"""Before the @ letters and digits of any script; marks and symbols go through the library."""
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BASE64_LINE: Final = 76
_SUBJECTS_KEPT: Final = 1024


class UnsafeMessage(Exception):
    """The message is not what was meant: something in it became a header or ended a line."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """The sender, the same in every message."""

    from_address: str
    from_name: str
    reply_to: str | None
    message_id_domain: str
    house: House = NOBODY

    def message_id(self, fact: Fact) -> str:
        """Return the Message-ID: one for each fact, whatever happens to its emails."""
        return f"<{fact.key}@{self.message_id_domain}>"


def build_mail(
    fact: Fact, rendered: RenderedEmail, recipient: str, letterhead: Letterhead
) -> OutgoingEmail:
    """Return the message about `fact`, dated when it happened (RFC 5322, RFC 3834).

    Raises:
        UnsafeMessage: the bytes do not read back as the headers that were set.
    """
    # Neither of the two encodings of a part can produce "=_", so the boundary is in no part.
    boundary = f"=_{fact.key.hex}"
    message_id = letterhead.message_id(fact)
    head = (
        f"{_sender_lines(letterhead)}{_to_line(recipient)}{_subject_lines(rendered.subject)}"
        f"Date: {format_datetime(fact.occurred_at)}\r\n"
        f"Message-ID: {message_id}\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "X-Auto-Response-Suppress: All\r\n"
        f"Content-Language: {rendered.locale}\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
    )
    check_head(head, letterhead)
    border = f"--{boundary}".encode()
    content = b"".join(
        (
            *(head.encode(), border, b"\r\n"),
            *(*_part("plain", rendered.text), b"\r\n", border, b"\r\n"),
            *(*_part("html", rendered.html), b"\r\n", border, b"--\r\n"),
        )
    )
    return OutgoingEmail(message_id, letterhead.from_address, recipient, content)


def sha256_of(mail: OutgoingEmail) -> str:
    """Return the digest of the exact bytes that the mail server is given, before dot-stuffing."""
    return hashlib.sha256(mail.content).hexdigest()


def check_head(head: str, letterhead: Letterhead) -> None:
    """Refuse a head that is not the wanted headers, each once and in order, in printable ASCII.

    A header that nobody set, or a bare CR or LF, was smuggled in.

    Raises:
        UnsafeMessage: it is not.
    """
    if _form_of_head(reply_to=letterhead.reply_to is not None).fullmatch(head) is None:
        text = "the message does not read back as the headers that were set"
        raise UnsafeMessage(text)


@cache
def _form_of_head(*, reply_to: bool) -> re.Pattern[str]:
    names = (name for name in _HEADERS if name != "Reply-To" or reply_to)
    # A recipient may be written in any script (RFC 6532); control characters and breaks may not.
    text = {"To": r"[ -~\u00a1-\u2027\u202f-\U0010ffff]*"}
    lines = (rf"{name}: {text.get(name, '[ -~]*')}\r\n(?:[ \t][ -~]*\r\n)*" for name in names)
    return re.compile("".join(lines) + r"\r\n")


@cache
def _sender_lines(letterhead: Letterhead) -> str:
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(letterhead.from_name, addr_spec=letterhead.from_address)
    if letterhead.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=letterhead.reply_to)
    return "".join(_folded(header) for header in message.values())


def _to_line(recipient: str) -> str:
    """Return the header for one recipient, which is kept nowhere: it may be erased at any time."""
    if _PLAIN_ADDRESS.fullmatch(recipient):
        return f"To: {recipient}\r\n"
    if _INTERNATIONAL_ADDRESS.fullmatch(recipient):
        return f"To: {recipient}\r\n"
    try:
        return _header_lines("To", Address(addr_spec=recipient))
    except ValueError:
        text = "the recipient is no address"
        raise UnsafeMessage(text) from None


@lru_cache(_SUBJECTS_KEPT)
def _subject_lines(subject: str) -> str:
    """Return the header, remembered: a subject holds no personal data, and many customers read it."""
    try:
        return _header_lines("Subject", subject)
    except ValueError:
        text = "the subject holds a line break"
        raise UnsafeMessage(text) from None


def _header_lines(name: str, value: str | Address) -> str:
    message = EmailMessage(policy=SMTP)
    message[name] = value
    return _folded(message[name])


def _folded(header: Any) -> str:  # noqa: ANN401 - the standard library makes its class as it goes
    """Return a header as lines; only encoded words, at most 75 characters each, need several.

    The standard library would begin a long ASCII header with an empty line, which reads badly.
    """
    lines: str = header.fold(policy=_UNFOLDED if header.isascii() else SMTP)
    return lines


def _part(subtype: str, text: str) -> tuple[bytes, bytes]:
    """Return one text with its own headers, in lines that every mail server can carry.

    English stays legible; Chinese would be three times as long in the same encoding.
    """
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    data = text.encode().replace(b"\n", b"\r\n")
    if text.isascii():
        encoding, body = "quoted-printable", b2a_qp(data)
    else:
        encoding, body = "base64", _base64_lines(data)
    headers = (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return headers.encode("ascii"), body


def _base64_lines(data: bytes) -> bytes:
    text = b2a_base64(data, newline=False)
    starts = range(0, len(text), _BASE64_LINE)
    return b"\r\n".join([text[start : start + _BASE64_LINE] for start in starts]) + b"\r\n"

"""Puts a rendered email into the bytes that go to the mail server: the same bytes every time."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from services.notifier.channels.email import Mail
from services.notifier.emails import RenderedEmail
from services.notifier.facts import Fact

_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")


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
    message = EmailMessage(policy=SMTP)
    try:
        _set_headers(message, fact, rendered, recipient, letterhead)
    except ValueError:
        text = "a header value holds a line break"
        raise UnsafeMessage(text) from None
    message.set_content(rendered.text, cte=_encoding(rendered.text))
    message.add_alternative(rendered.html, subtype="html", cte=_encoding(rendered.html))
    message["Content-Language"] = rendered.locale
    # Neither of the two encodings can produce "=_", so the boundary is in no part.
    message.set_boundary(f"=_{fact.event_id.hex}")
    content = message.as_bytes()
    _check(message, content)
    return Mail(letterhead.message_id(fact), letterhead.from_address, recipient, content)


def sha256_of(mail: Mail) -> str:
    """Return the digest of the exact bytes that the mail server is given, before dot-stuffing."""
    return hashlib.sha256(mail.content).hexdigest()


def _set_headers(
    message: EmailMessage,
    fact: Fact,
    rendered: RenderedEmail,
    recipient: str,
    letterhead: Letterhead,
) -> None:
    message["From"] = Address(letterhead.from_name, addr_spec=letterhead.from_address)
    message["To"] = Address(addr_spec=recipient)
    if letterhead.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=letterhead.reply_to)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(fact.occurred_at)
    message["Message-ID"] = letterhead.message_id(fact)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"


def _encoding(text: str) -> str:
    return "quoted-printable" if text.isascii() else "base64"


def _check(message: EmailMessage, content: bytes) -> None:
    """Read the bytes back: a header that nobody set, or a bare CR or LF, was smuggled in."""
    read_back = BytesHeaderParser(policy=SMTP).parsebytes(content)
    if read_back.keys() != message.keys() or _BARE_LINE_END.search(content):
        text = "the bytes do not read back as the headers that were set"
        raise UnsafeMessage(text)

"""Looks at a contact in depth before it is kept: it becomes part of headers, and costs money."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, Never

from email_validator import EmailNotValidError, validate_email

from schemas.requests import Channel, Contact
from services.notifier.channels.sms.phone_numbers import phone_number
from services.notifier.wording.locales import zone_named
from services.runtime.errors import Poison

LOCALE_OTHERWISE: Final = "en"
ZONE_OTHERWISE: Final = "UTC"
_ADDRESS_OCTETS_MAX: Final = 254
"""RFC 5321, 4.5.3.1.3: a path is at most 256 octets, two of them brackets."""
_PLAIN_LOCAL_PART: Final = re.compile(r"(?=.{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@", re.ASCII)
_DOMAINS_KEPT: Final = 4096
_LOCALE: Final = re.compile(r"[A-Za-z0-9]+([-_.@][A-Za-z0-9]+)*")
_ENCODED_WORD: Final = re.compile(r"=\?.*\?=")
_BREAKS: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_CONTROLS: Final = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def checked(contact: Contact) -> Contact:
    """Return `contact` with its addresses in the forms that go to the channels.

    A phone number that no channel can use is not kept; it is refused where sms is wanted.

    Raises:
        Poison: a field is unusable. The text names the field, never the value.
    """
    for name in ("email", "name", "phone", "locale", "time_zone"):
        _check_one_line(name, getattr(contact, name) or "")
    changed: dict[str, object] = {
        "email": mail_address(contact.email),
        "phone": phone_number(contact.phone or ""),
        "name": (contact.name or "").strip() or None,
        "channels": sorted(set(contact.channels)),
    }
    if Channel.SMS in contact.channels and changed["phone"] is None:
        _refuse("phone", "sms needs a number in the form of E.164, + and at most 15 digits")
    # A mail in English or with times in UTC is better than none.
    if _LOCALE.fullmatch(contact.locale) is None:
        changed["locale"] = LOCALE_OTHERWISE
    if zone_named(contact.time_zone) is None:
        changed["time_zone"] = ZONE_OTHERWISE
    return contact.model_copy(update=changed)


def mail_address(text: str) -> str:
    """Return the address with an ASCII domain, which every mail server takes.

    Raises:
        Poison: it cannot be an address on the public internet. Nothing is looked up.
    """
    local_part = _PLAIN_LOCAL_PART.match(text) if text.isascii() else None
    if local_part is None:
        return _validated(text)
    # The domain alone is what takes the library long, and a few of them serve most customers.
    address = local_part.group() + _ascii_domain(text[local_part.end() :])
    return address if len(address) <= _ADDRESS_OCTETS_MAX else _validated(text)


@lru_cache(_DOMAINS_KEPT)
def _ascii_domain(domain: str) -> str:
    return _validated(f"a@{domain}").removeprefix("a@")


def _validated(text: str) -> str:
    """Return the address; before the @ it may be written in any script (RFC 6531)."""
    try:
        address = validate_email(text, check_deliverability=False, allow_smtputf8=True, strict=True)
    except EmailNotValidError:
        address = None
    mailed = f"{address.local_part}@{address.ascii_domain}" if address else ""
    if not mailed or len(mailed.encode()) > _ADDRESS_OCTETS_MAX:
        _refuse("email", "send a plain address such as name@example.com")
    return mailed


def _check_one_line(field: str, text: str) -> None:
    if text.isascii():
        broken = not text.isprintable()
    else:
        broken = any(unicodedata.category(each) in _BREAKS for each in text)
    if broken:
        _refuse(field, "send it without control characters and line breaks")
    if not _DIRECTION_CONTROLS.isdisjoint(text):
        _refuse(field, "send it without characters that turn the direction of writing")
    if _ENCODED_WORD.search(text):
        _refuse(field, "send plain text, not a MIME encoded word")


def _refuse(field: str, what_to_do: str) -> Never:
    message = f"contact.{field} is refused: {what_to_do}, in CustomerContactChanged"
    raise Poison("contact_refused", message)

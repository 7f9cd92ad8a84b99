"""Erases what is kept of a customer's contact, however it was spelt on its way here."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from services.notifier.channels.registry import recipients_of
from services.notifier.limits.recipients import FORGET_RECIPIENTS, recipient_hash, recipient_key
from services.runtime.log.tables import dead_letters
from services.runtime.postgres.errors import transient_when_unwell

_KNOWN: Final = (
    "WITH known AS (SELECT email, phone FROM contact WHERE account_id = $1"
    " UNION SELECT email, phone FROM contact_candidate WHERE account_id = $1)"
    " SELECT address FROM known, unnest(ARRAY[email, phone]) AS address WHERE address IS NOT NULL"
)
_ERASE: Final = (
    "WITH kept AS (SELECT account_id FROM contact WHERE account_id = $1 AND erased_at IS NULL)"
    " INSERT INTO contact (account_id, as_of, erased_at)"
    " VALUES ($1, clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (account_id) DO UPDATE SET email = NULL, phone = NULL, name = NULL,"
    " locale = NULL, time_zone = NULL, channels = excluded.channels, as_of = excluded.as_of,"
    " erased_at = excluded.erased_at"
    " RETURNING EXISTS (SELECT FROM kept)"
)
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|([\"\\/]))")
_PART_OF_ID: Final = rb"[A-Za-z0-9._:-]"
_PHONE: Final = re.compile(r"\+[0-9]+", re.ASCII)
_PREFETCHED: Final = 50
_ERASED: Final = "contact erased"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was blanked: whether there was a contact, and how many dead letters held requests."""

    contact: bool
    dead_letters: int


async def erase(
    connection: asyncpg.Connection, account_id: str, addresses: Sequence[str] = ()
) -> tuple[Erasure, frozenset[str]]:
    """Blank what the notifier's schema holds of a customer; a later request may bring it again.

    Dead letters are found by the account and by the addresses that are known of it, `addresses`
    with them; the second value is all of those, to look for elsewhere. Emails about the account
    that still wait find no contact any more, and are not sent.
    """
    with transient_when_unwell():
        async with connection.transaction():
            rows = await connection.fetch(_KNOWN, account_id)
            known = frozenset(row["address"] for row in rows) | frozenset(addresses)
            existed: bool = await connection.fetchval(_ERASE, account_id)
            await connection.execute(
                "DELETE FROM contact_candidate WHERE account_id = $1", account_id
            )
            key = await recipient_key(connection)
            recipients = [recipient_hash(each, key) for one in known for each in recipients_of(one)]
            await connection.execute(FORGET_RECIPIENTS, recipients)
            blanked = await blank_letters(connection, account_id, known)
    return Erasure(existed, blanked), known


async def blank_letters(
    connection: asyncpg.Connection, account_id: str, addresses: Iterable[str]
) -> int:
    """Blank the dead letters of a service that are about an account or hold one of `addresses`.

    All are read, not looked up: whatever is wrong with a letter may be what hides its account. What
    is kept of one that was cut may end in the middle of a contact, whose account lay behind it: it
    is blanked whomever it is about, and the letter stays open.
    """
    wanted = _pattern(account_id, addresses)
    with transient_when_unwell():
        async with connection.transaction():
            found, cut = [], []
            async for row in connection.cursor(dead_letters.WITH_RECORDS, prefetch=_PREFETCHED):
                if row["account_id"] == account_id or any(map(wanted.search, _texts(row))):
                    found.append(row["dead_letter_id"])
                elif row["cut"]:
                    cut.append(row["dead_letter_id"])
            await connection.execute(dead_letters.BLANK, found, _ERASED)
            await connection.execute(dead_letters.FORGET, cut)
    return len(found) + len(cut)


def _pattern(account_id: str, addresses: Iterable[str]) -> re.Pattern[bytes]:
    account = re.escape(account_id.encode())
    wanted = [rb"(?<!%b)%b(?!%b)" % (_PART_OF_ID, account, _PART_OF_ID)]
    for address in addresses:
        if _PHONE.fullmatch(address):
            wanted.append(_spellings_of_number(address))
            continue
        for spelling in {address, _with_unicode_domain(address)}:
            text = re.escape(spelling.encode())
            wanted.append(rb"(?<![A-Za-z0-9])(?i:%b)(?![A-Za-z0-9])" % text)
    return re.compile(b"|".join(wanted))


def _spellings_of_number(phone: str) -> bytes:
    """Return a pattern of the digits of a number, however people set them apart."""
    digits = phone.removeprefix("+").encode()
    between = rb"[^0-9A-Za-z]{0,3}"
    return rb"(?<![0-9])(?:00)?%b(?![0-9])" % between.join(
        digits[at : at + 1] for at in range(len(digits))
    )


def _with_unicode_domain(address: str) -> str:
    local_part, _, domain = address.rpartition("@")
    try:
        return f"{local_part}@{domain.encode().decode('idna')}"
    except UnicodeError:
        return address


def _texts(letter: Any) -> Iterator[bytes]:  # noqa: ANN401 - an asyncpg record
    """Yield all bytes of a letter, and each once more as JSON would read it."""
    headers: list[tuple[str, str | None]] = json.loads(letter["record_headers"])
    parts = [letter["record_key"], letter["record_value"]]
    parts += [b64decode(value) for _, value in headers if value is not None]
    for part in parts:
        if part is not None:
            yield part
            if b"\\" in part:
                yield _ESCAPE.sub(_unescaped, part)


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        return match[2]
    return chr(int(match[1], 16)).encode(errors="replace")

"""Erases what is kept of a customer's contact, however it was spelt on its way here."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from services.notifier.limits.mailboxes import FORGET_MAILBOXES, mailbox_hash, mailbox_key
from services.runtime.log.tables import dead_letters
from services.runtime.postgres.errors import transient_when_unwell

_KNOWN: Final = (
    "SELECT email FROM contact WHERE account_id = $1 AND email IS NOT NULL"
    " UNION SELECT email FROM contact_candidate WHERE account_id = $1"
)
_ERASE: Final = (
    "WITH kept AS (SELECT account_id FROM contact WHERE account_id = $1 AND erased_at IS NULL)"
    " INSERT INTO contact (account_id, as_of, erased_at)"
    " VALUES ($1, clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (account_id) DO UPDATE SET email = NULL, phone = NULL, name = NULL,"
    " locale = NULL, time_zone = NULL, as_of = excluded.as_of, erased_at = excluded.erased_at"
    " RETURNING EXISTS (SELECT FROM kept)"
)
_ESCAPE: Final = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|([\"\\/]))")
_PART_OF_ID: Final = rb"[A-Za-z0-9._:-]"
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
            known = frozenset(row["email"] for row in rows) | frozenset(addresses)
            existed: bool = await connection.fetchval(_ERASE, account_id)
            await connection.execute(
                "DELETE FROM contact_candidate WHERE account_id = $1", account_id
            )
            key = await mailbox_key(connection)
            mailboxes = [mailbox_hash(address, key) for address in known]
            await connection.execute(FORGET_MAILBOXES, mailboxes)
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
        for spelling in {address, _with_unicode_domain(address)}:
            text = re.escape(spelling.encode())
            wanted.append(rb"(?<![A-Za-z0-9])(?i:%b)(?![A-Za-z0-9])" % text)
    return re.compile(b"|".join(wanted))


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

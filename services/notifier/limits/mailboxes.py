"""Which mailbox an address leads to, as a keyed hash: whoever reads it learns no address."""

from __future__ import annotations

import unicodedata
from hashlib import blake2b
from typing import Final

import asyncpg

_DOTLESS: Final = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
"""Domains of which the provider says that dots before the @ mean nothing, by their one name."""
_HASH_BYTES: Final = 16
FORGET_MAILBOXES: Final = (
    "WITH held AS (DELETE FROM held_mail WHERE mailbox = ANY($1::bytea[]))"
    " DELETE FROM mailbox_limit WHERE mailbox = ANY($1::bytea[])"
)


def plain_mailbox(address: str) -> str:
    """Return the spelling of the mailbox that `address` leads to, the same for all its spellings.

    Whoever asks for mail chooses the spelling: case, compatibility forms, the writing of the
    domain, and what follows a plus sign (RFC 5233) tell no two mailboxes from each other.
    """
    local_part, _, domain = unicodedata.normalize("NFKC", address).casefold().rpartition("@")
    domain = _ascii_domain(domain)
    local_part = local_part.partition("+")[0] or local_part
    if domain in _DOTLESS:
        domain, local_part = _DOTLESS[domain], local_part.replace(".", "")
    return f"{local_part}@{domain}"


def mailbox_hash(address: str, key: bytes) -> bytes:
    """Return the 16 bytes that stand for the mailbox of `address` under `key`."""
    return blake2b(plain_mailbox(address).encode(), key=key, digest_size=_HASH_BYTES).digest()


async def mailbox_key(connection: asyncpg.Connection | asyncpg.Pool) -> bytes:
    """Return the key that the notifier's schema was made with."""
    key: bytes = await connection.fetchval("SELECT key FROM mailbox_key")
    return key


def _ascii_domain(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain

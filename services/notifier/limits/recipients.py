"""Which recipient a message goes to, as a keyed hash: whoever reads it learns no address."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import asyncpg

_HASH_BYTES: Final = 16
FORGET_RECIPIENTS: Final = (
    "WITH held AS (DELETE FROM held_mail WHERE mailbox = ANY($1::bytea[]))"
    " DELETE FROM mailbox_limit WHERE mailbox = ANY($1::bytea[])"
)


def recipient_hash(plain: str, key: bytes) -> bytes:
    """Return the 16 bytes that stand for a recipient under `key`.

    `plain` is the one spelling that its channel has for all spellings of the address.
    """
    return blake2b(plain.encode(), key=key, digest_size=_HASH_BYTES).digest()


async def recipient_key(connection: asyncpg.Connection | asyncpg.Pool) -> bytes:
    """Return the key that the notifier's schema was made with."""
    key: bytes = await connection.fetchval("SELECT key FROM mailbox_key")
    return key

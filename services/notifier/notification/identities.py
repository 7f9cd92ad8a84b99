"""The names of one notification: the only place that puts them together. PURE."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from services.runtime.log import stream_ids as streams

KIND: Final = "notification"
"""The kind of the streams."""
EMAIL_KIND: Final = "email"
"""The kind of the one effect: see `effects`."""


def hold_key(account_id: str) -> str:
    """Return what messages wait under for the contact of an account."""
    return f"contact/{account_id}"


def stream_id(fact_key: UUID) -> str:
    """Return the stream of the notification of a fact."""
    return streams.stream_id(KIND, str(fact_key))


def notification_id(fact_key: UUID) -> str:
    """Return the id of the notification of a fact."""
    return f"ntf-{fact_key}"


def fact_key_of(notification_id: str) -> UUID:
    """Return the key of the fact that a notification is about."""
    return UUID(notification_id.removeprefix("ntf-"))

"""The names of one notification: the only place that puts them together. PURE."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from schemas.envelope import name_based_uuid
from schemas.requests import Channel
from services.runtime.log import stream_ids as streams

KIND: Final = "notification"
"""The kind of the streams."""

_NAMESPACE: Final = UUID("5f3f1a52-9a0c-5d0e-8d55-7f6a0b8f1c11")


def notification_key(fact_key: UUID, channel: Channel) -> UUID:
    """Return what names the notification of a fact by a channel in the whole system.

    An email has the key of its fact: there were no other channels when the first ones were sent.
    """
    if channel is Channel.EMAIL:
        return fact_key
    return name_based_uuid(_NAMESPACE, f"{fact_key}/{channel}")


def effect_id(fact_key: UUID, channel: Channel) -> str:
    """Return the id of the effect that tells of a fact by a channel."""
    return f"{channel}/{fact_key}"


def hold_key(account_id: str) -> str:
    """Return what messages wait under for the contact of an account."""
    return f"contact/{account_id}"


def fact_stream_id(fact_key: UUID) -> str:
    """Return the stream that a fact comes to, and is sent on from to one for each channel.

    Before there were several channels, the events about its email were in it; what is in it still
    says that the customer was told.
    """
    return streams.stream_id(KIND, str(fact_key))


def stream_id(fact_key: UUID, channel: Channel) -> str:
    """Return the stream of the notification of a fact by a channel."""
    return streams.stream_id(KIND, f"{fact_key}/{channel}")


def notification_id(key: UUID) -> str:
    """Return the id of the notification with a key."""
    return f"ntf-{key}"


def key_of(notification_id: str) -> UUID:
    """Return the key of a notification."""
    return UUID(notification_id.removeprefix("ntf-"))

"""What every event shares: the CloudEvents attributes, the field types and the `Event` base.

The wire binding (headers and bytes) lives in `services.runtime.kafka.cloudevents`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

SPEC_VERSION: Final = "1.0"
SCHEMA_BASE_URI: Final = "urn:perennial:schema:"
_EVENT_NAMESPACE: Final = UUID("6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11")
_VERSION_AND_VARIANT_BITS: Final = 0xF000 << 64 | 0xC000 << 48
_VERSION_5: Final = 0x5000 << 64 | 0x8000 << 48


@lru_cache(maxsize=4096)
def utc_text(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 UTC with microseconds: `2026-11-20T08:00:00.000000Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _to_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


UtcDatetime = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc),
    PlainSerializer(utc_text, return_type=str, when_used="json"),
]
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$"),
]
ShortText = Annotated[str, StringConstraints(max_length=200)]
Sha256Hex = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
DecimalText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,12})?$")]
Iccid = Annotated[str, StringConstraints(pattern="^89[0-9]{16,18}$")]
"""ITU-T E.118: 18 to 20 digits that begin with 89."""


class Source(StrEnum):
    """`source` of the events that our own services write; upstreams use `/upstream/<name>`."""

    ORDERS = "/billing/orders"
    LEDGER = "/billing/ledger"
    NOTIFIER = "/billing/notifier"


UPSTREAM_PREFIX: Final = "/upstream/"


class Part(BaseModel):
    """A value inside an event, as closed and as strict as the event."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Event(BaseModel):
    """A past fact. Producers are closed (`extra="forbid"`); consumers call `parse`, tolerant."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="null"
    )

    schema_version: ClassVar[int] = 1

    account_id: Identifier

    @classmethod
    def wire_type(cls) -> str:
        """Return the CloudEvents `type`, `billing.<ClassName>.v<major>`."""
        return f"billing.{cls.__name__}.v{cls.schema_version}"

    @classmethod
    def schema_uri(cls) -> str:
        """Return the CloudEvents `dataschema`, which is the `$id` of the JSON Schema."""
        return f"{SCHEMA_BASE_URI}{cls.__name__}.v{cls.schema_version}"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read the JSON `body`, ignoring fields that a newer producer added.

        Raises:
            pydantic.ValidationError: a known field is missing or wrong. Its text names no value.
        """
        return cls.model_validate_json(body, extra="ignore")

    def body(self) -> bytes:
        """Return the JSON bytes that are stored, hashed and sent; absent options are left out."""
        return self.model_dump_json(exclude_none=True).encode()


class Envelope(BaseModel):
    """The CloudEvents 1.0 attributes and our extensions (`shared vocabulary`: docs/EVENTS.md)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: UUID
    source: Annotated[
        str, StringConstraints(pattern=r"^/(upstream|billing)/[a-z0-9][a-z0-9-]{0,62}$")
    ]
    type: Annotated[str, StringConstraints(max_length=128)]
    subject: Annotated[str, StringConstraints(max_length=256)] | None = None
    time: UtcDatetime
    recordedtime: UtcDatetime | None = None
    partitionkey: Identifier
    correlationid: Identifier | None = None
    causationid: UUID | None = None
    sequence: int | None = Field(default=None, ge=1)
    streamversion: int | None = Field(default=None, ge=1)
    dataschema: Annotated[str, StringConstraints(max_length=256)] | None = None
    traceparent: (
        Annotated[
            str, StringConstraints(pattern="^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
        ]
        | None
    ) = None


def derived_event_id(causation_id: UUID, event_type: str, n: int = 0) -> UUID:
    """Return the UUIDv5 of (causing event id, type, n), so that a retry makes the same id."""
    return name_based_uuid(_EVENT_NAMESPACE, f"{causation_id}/{event_type}/{n}")


def name_based_uuid(namespace: UUID, name: str) -> UUID:
    """Return the UUIDv5 of `name` (RFC 9562, 5.5), in half the time of the standard library's."""
    digest = hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16], "big")
    return UUID(int=number & ~_VERSION_AND_VARIANT_BITS | _VERSION_5)

"""What every event shares: the CloudEvents attributes, the field types and the `Event` base.

The wire binding (headers and bytes) lives in `services.runtime.kafka.records.cloudevents`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Annotated, ClassVar, Final, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
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
TIME_MIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIME_END: Final = datetime(3000, 1, 1, tzinfo=UTC)
"""Every time lies before this: validity and time zones can be added without leaving the calendar."""
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_BIGINT_MAX: Final = 2**63 - 1
"""The largest number that a column of Postgres holds."""


@lru_cache(maxsize=4096)
def utc_text(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 UTC with microseconds: `2026-11-20T08:00:00.000000Z`."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _to_utc(moment: datetime) -> datetime:
    try:
        utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        utc = datetime.min.replace(tzinfo=UTC)
    if not TIME_MIN <= utc < TIME_END:
        message = "the time must lie in the years 1970 to 2999, in UTC"
        raise ValueError(message)
    return utc


def _rfc_3339(value: object) -> object:
    """Read RFC 3339 and nothing else: pydantic alone takes seconds since 1970 and blanks, too."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper())
    except ValueError:
        pass
    message = "the time must be RFC 3339 with an offset, such as 2026-11-20T08:00:00Z"
    raise ValueError(message)


def _hyphenated(value: object) -> object:
    if isinstance(value, str) and not _UUID.fullmatch(value):
        message = "write the UUID as 36 characters, such as 6f1d3c5e-0c57-4f0a-9d0e-5a3f3f0c7b11"
        raise ValueError(message)
    return value


def _known_trace(value: object) -> object:
    """Return a trace context of W3C, or None: one that is broken is as if it were not there."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


UtcDatetime = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc_3339),
    AfterValidator(_to_utc),
    PlainSerializer(utc_text, return_type=str, when_used="json"),
]


class _Happened:
    """Marks the time at which something happened, as the sender says."""


AHEAD_MAX: Final = timedelta(days=1)
"""A clock or a time zone may be wrong by less. What happened later than that has not happened."""
HappenedAt = Annotated[
    UtcDatetime,
    _Happened(),
    Field(description="at most a day ahead of when it is read; what is ahead counts as now"),
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


TimeZoneName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")
]
"""A name of the IANA time zone database."""


class Part(BaseModel):
    """A value inside an event, as closed and as strict as the event."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Message(BaseModel):
    """What a topic carries. Producers are closed (`extra="forbid"`); consumers `parse`, tolerant."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="null"
    )

    schema_version: ClassVar[int] = 1
    namespace: ClassVar[str] = "billing"
    """What the `type` begins with; another system's messages have their own."""

    @classmethod
    def wire_type(cls) -> str:
        """Return the CloudEvents `type`, `<namespace>.<ClassName>.v<major>`."""
        return f"{cls.namespace}.{cls.__name__}.v{cls.schema_version}"

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


class Event(Message):
    """A past fact about an account."""

    account_id: Identifier


@cache
def happened_field(model: type[Event]) -> str | None:
    """Return the name of the field that says when it happened, of what systems around us send."""
    fields = model.model_fields.items()
    return next(
        (name for name, each in fields if any(isinstance(m, _Happened) for m in each.metadata)),
        None,
    )


SourceName = Annotated[
    str, StringConstraints(pattern=r"^/(upstream|gateway|billing)/[a-z0-9][a-z0-9-]{0,62}$")
]
"""Who wrote an event of billing: `ce_source`."""
EventSource = Annotated[
    str, StringConstraints(pattern=r"^/[a-z][a-z0-9-]{0,31}/[a-z0-9][a-z0-9-]{0,62}$")
]
"""The form of a `ce_source`; which of them may write to a topic, the topic says."""


class Envelope(BaseModel):
    """The CloudEvents 1.0 attributes and our extensions (`shared vocabulary`: docs/EVENTS.md)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[UUID, BeforeValidator(_hyphenated)]
    source: EventSource
    type: Annotated[str, StringConstraints(max_length=128)]
    subject: Annotated[str, StringConstraints(max_length=256)] | None = None
    time: UtcDatetime
    recordedtime: UtcDatetime | None = None
    partitionkey: Identifier
    correlationid: Identifier | None = None
    causationid: UUID | None = None
    sequence: int | None = Field(default=None, ge=1, le=_BIGINT_MAX)
    streamversion: int | None = Field(default=None, ge=1, le=_BIGINT_MAX)
    dataschema: Annotated[str, StringConstraints(max_length=256)] | None = None
    traceparent: Annotated[str | None, BeforeValidator(_known_trace)] = None


def derived_event_id(cause: str, event_type: str, stream_id: str, stream_version: int) -> UUID:
    """Return the UUIDv5 of what led to an event and of its place, so that a retry makes the same id.

    No two events of the system share a place. `cause` tells two things from each other that came
    to one place in two lives of a log: it is restored, and then goes on in another way.
    """
    return name_based_uuid(
        _EVENT_NAMESPACE, f"{event_type}\n{stream_version}\n{cause}\n{stream_id}"
    )


def name_based_uuid(namespace: UUID, name: str) -> UUID:
    """Return the UUIDv5 of `name` (RFC 9562, 5.5), in half the time of the standard library's."""
    digest = hashlib.sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16], "big")
    return UUID(int=number & ~_VERSION_AND_VARIANT_BITS | _VERSION_5)

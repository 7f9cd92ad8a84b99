"""What goes into one unit of work and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from schemas.envelope import Event
from services.runtime.log.event_log import EffectOrigin, LeasedEffect, StoredEvent
from services.runtime.processor import Incoming, Release, Retry, Start, Task


class Work(NamedTuple):
    """One command and where it comes from: a consumed event or the result of an effect."""

    task: Task
    shard: int
    account_id: str
    cause_event_id: UUID
    correlation_id: str
    traceparent: str | None
    incoming: Incoming | None = None
    effect: LeasedEffect | None = None

    def origin(self) -> EffectOrigin:
        """Return what an effect that this command wants will need for its result."""
        return EffectOrigin(
            shard=self.shard,
            account_id=self.account_id,
            stream_id=self.task.stream_id,
            cause_event_id=self.cause_event_id,
            correlation_id=self.correlation_id,
            traceparent=self.traceparent,
        )


@dataclass(slots=True)
class Recorded:
    """What one unit of work changed; counted, handed to the workers after commit.

    `facts` are `events` in the same order, parsed.
    """

    events: list[StoredEvent] = field(default_factory=list)
    facts: list[Event] = field(default_factory=list)
    handled: list[Incoming] = field(default_factory=list)
    starts: list[tuple[EffectOrigin, Start]] = field(default_factory=list)
    releases: list[tuple[int, Release]] = field(default_factory=list)
    drops: list[tuple[int, str]] = field(default_factory=list)
    finished: list[tuple[int, str]] = field(default_factory=list)
    retries: list[tuple[tuple[int, str], Retry]] = field(default_factory=list)
    leased: list[LeasedEffect] = field(default_factory=list)


class ForeignStream(StrEnum):
    """Why a request for a stream of another shard needs no answer."""

    ALREADY_REFUSED = "already_refused"


def refused_stream_id(work: Work) -> str:
    """Return the stream of a request that was refused because its id is another account's."""
    return f"refused/{work.cause_event_id}"

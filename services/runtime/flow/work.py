"""What goes into one unit of work and what comes out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from schemas.envelope import Envelope, Event
from schemas.registry import EventRegistry
from services.runtime.effect import Release, Retry, Start
from services.runtime.errors import Poison
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.log.event_log import REMAINS, EffectOrigin, LeasedEffect, StoredEvent
from services.runtime.log.stream_ids import refusals_of
from services.runtime.processor import (
    Filed,
    Ignored,
    Incoming,
    StateT,
    StreamKind,
    Task,
    archival_of,
)


class Work(NamedTuple):
    """One command and where it comes from: a consumed event or the result of an effect.

    `cause` names what led to it in the whole system; an event id does so only with its source.
    An effect ends with its result; what a person said of it, `by_person`, ends it unless ignored.
    """

    task: Task
    shard: int
    account_id: str
    cause: str
    cause_event_id: UUID
    correlation_id: str
    traceparent: str | None
    incoming: Incoming | None = None
    effect: LeasedEffect | None = None
    by_person: bool = False

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


class Parsed(NamedTuple):
    """A record after parsing: `work` to do, or why there is none (`poison`, `ignored`).

    `sequenced` is the envelope of an event that one of our services wrote: its `sequence` counts.
    """

    record: Record
    sequenced: Envelope | None = None
    work: Work | None = None
    poison: Poison | None = None
    ignored: Ignored | None = None


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

    def filed(self) -> Sequence[Filed]:
        """Return the events, each beside what was parsed of it."""
        return [Filed(*pair) for pair in zip(self.events, self.facts, strict=True)]


class ForeignStream(StrEnum):
    """Why a request for a stream of another shard needs no answer."""

    ALREADY_REFUSED = "already_refused"


def consumed(envelope: Envelope) -> str:
    """Return the cause that a consumed event is."""
    return f"{envelope.source}/{envelope.id}"


def attempted(effect: LeasedEffect) -> str:
    """Return the cause that one attempt of an effect is; its result is recorded once."""
    run = effect.run
    return f"{run.shard}/{run.effect_id}/{run.attempt}"


def result_of(effect: LeasedEffect, command: object) -> Work:
    """Return the work that the result of an effect is."""
    origin = effect.origin
    return Work(
        task=Task(origin.stream_id, command),
        shard=origin.shard,
        account_id=origin.account_id,
        cause=attempted(effect),
        cause_event_id=origin.cause_event_id,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
        effect=effect,
    )


def refused_stream_id(work: Work) -> str:
    """Return the stream of a request that was refused because its id is another account's.

    Only the same request of the same account has the same stream, and needs no second answer.
    """
    content = work.incoming.body if work.incoming is not None else b""
    told = f"{work.cause}\n{work.account_id}\n{work.task.stream_id}\n".encode() + content
    return f"{refusals_of(work.task.stream_id)}{hashlib.sha256(told).hexdigest()}"


def folded(
    kind: StreamKind[StateT], state: StateT, stored: StoredEvent, events: EventRegistry
) -> StateT:
    """Return the state of a stream behind its next row, which may stand for all before it.

    Raises:
        Halt: it is archived, and the service cannot answer for such a stream.
    """
    if stored.type == REMAINS:
        return archival_of(kind).restored(json.loads(stored.body))
    return kind.evolve(state, stored.event(events))


def contested(works: Sequence[Work]) -> set[str]:
    """Return the streams that accounts of several shards ask for; the first of them will own it."""
    shards: dict[str, int] = {}
    return {
        work.task.stream_id
        for work in works
        if shards.setdefault(work.task.stream_id, work.shard) != work.shard
    }

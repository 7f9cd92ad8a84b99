"""How far the events of a shard may leave: up to the first stream that is not over, or is young."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from schemas.envelope import utc_text
from schemas.registry import EventRegistry
from services.runtime.errors import ConfigurationError, Halt, Park
from services.runtime.log.event_log import REMAINS, StoredEvent
from services.runtime.log.postgres_rows import LOAD_STREAMS, stored_event
from services.runtime.log.tables.effects import STREAMS_AT_WORK
from services.runtime.processor import Archival, StateT, StreamKind, Streams, archival_of

RANGE_EVENTS: Final = 20_000
"""In one file, and under one lock of a shard: about a tenth of a second."""
_SLICE: Final = 2000
_STREAMS_AT_ONCE: Final = 500
_PLACES: Final = (
    "SELECT position, stream_id FROM event"
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position"
)
_ENDS: Final = (
    "SELECT archived_position, least(published_position, head_position - 1) AS last_position"
    " FROM shard WHERE shard = $1"
)


@dataclass(frozen=True, slots=True)
class HeldEvents:
    """The stream that keeps the events of a shard from `position` on in the database, and why."""

    shard: int
    position: int
    stream_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """A stream with events that leave, and what is left of it for ever."""

    stream_id: str
    shard: int
    stream_version: int
    first_position: int
    last_position: int
    account_id: str
    recorded_at: datetime
    remains: bytes


@dataclass(slots=True)
class ArchivePlan:
    """Positions of a shard that leave together; none when `last_position` is before the first."""

    shard: int
    first_position: int
    last_position: int
    streams: dict[str, Leaving] = field(default_factory=dict)
    held: HeldEvents | None = None

    @property
    def empty(self) -> bool:
        return self.last_position < self.first_position


async def plan_range(
    connection: Any,  # noqa: ANN401 - asyncpg's
    shard: int,
    streams: Streams,
    before: datetime,
) -> ArchivePlan:
    """Return what may leave next: its streams are over, and all their events older than `before`.

    A stream goes as a whole: where some of its events lie behind the range, they follow with
    another one. The newest event of a shard stays, and so does what is not published yet.
    """
    archived, last = await connection.fetchrow(_ENDS, shard)
    plan = ArchivePlan(shard, archived + 1, archived)
    last = min(last, archived + RANGE_EVENTS)
    at_work = {row[0] for row in await connection.fetch(STREAMS_AT_WORK, shard)}
    held: dict[str, str] = {}
    while plan.last_position < last:
        until = min(plan.last_position + _SLICE, last)
        places = await connection.fetch(_PLACES, shard, plan.last_position, until)
        found = list({row["stream_id"]: None for row in places if _new(row, plan)})
        for first in range(0, len(found), _STREAMS_AT_ONCE):
            some = found[first : first + _STREAMS_AT_ONCE]
            held |= await _judge(connection, some, streams, before, at_work, plan)
        for position, stream_id in places:
            if stream_id in held:
                plan.held = HeldEvents(shard, position, stream_id, held[stream_id])
                return _cut(plan)
            plan.last_position = position
        if not places:
            break
    return plan


def _new(row: Any, plan: ArchivePlan) -> bool:  # noqa: ANN401 - an asyncpg record
    return row["stream_id"] not in plan.streams


def _cut(plan: ArchivePlan) -> ArchivePlan:
    """Forget the streams that begin behind what leaves."""
    plan.streams = {
        name: each
        for name, each in plan.streams.items()
        if each.first_position <= plan.last_position
    }
    return plan


async def _judge(  # noqa: PLR0913, PLR0917 - what is judged, by what, and where it is noted
    connection: Any,  # noqa: ANN401 - asyncpg's
    stream_ids: Sequence[str],
    streams: Streams,
    before: datetime,
    at_work: Collection[str],
    plan: ArchivePlan,
) -> dict[str, str]:
    """Note the streams that may leave; return why the others may not.

    Raises:
        ConfigurationError: this version does not know a type of event.
    """
    found: dict[str, list[StoredEvent]] = {}
    for row in await connection.fetch(LOAD_STREAMS, stream_ids):
        found.setdefault(row["stream_id"], []).append(stored_event(row))
    held: dict[str, str] = {}
    for stream_id, events in found.items():
        try:
            kind = streams.kind_of(stream_id)
            archival = archival_of(kind)
            state = _folded(kind, archival, events, streams.events)
        except (Park, Halt) as unknown:
            raise ConfigurationError(str(unknown)) from None
        newest = max(events, key=lambda each: each.recorded_at)
        if not archival.is_over(state):
            held[stream_id] = "is not over"
        elif stream_id in at_work:
            held[stream_id] = "has an effect"
        elif newest.recorded_at >= before:
            held[stream_id] = f"goes on until {utc_text(newest.recorded_at)}"
        else:
            plan.streams[stream_id] = _leaving(archival, state, events)
    return held


def _folded(
    kind: StreamKind[StateT],
    archival: Archival[StateT],
    events: Sequence[StoredEvent],
    registry: EventRegistry,
) -> StateT:
    state = kind.initial_state()
    for stored in events:
        if stored.type == REMAINS:
            state = archival.restored(json.loads(stored.body))
        else:
            state = kind.evolve(state, stored.event(registry))
    return state


def _leaving(archival: Archival[Any], state: Any, events: Sequence[StoredEvent]) -> Leaving:  # noqa: ANN401
    last = events[-1]
    return Leaving(
        stream_id=last.stream_id,
        shard=last.shard,
        stream_version=last.stream_version,
        first_position=min(each.position for each in events),
        last_position=max(each.position for each in events),
        account_id=last.account_id,
        recorded_at=max(each.recorded_at for each in events),
        remains=json.dumps(archival.remains(state), sort_keys=True).encode(),
    )

"""The tables of the event log in memory."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from services.runtime.effect import RunKey, Start
from services.runtime.log.event_log import (
    DeadLetter,
    EffectOrigin,
    LastSequence,
    LeasedEffect,
    LogEnd,
    Overflow,
    Parking,
    ShardHead,
    StoredEvent,
    TopicPartition,
    Unpublished,
)
from services.runtime.log.leasing import leased_effect


@dataclass(slots=True)
class OpenEffect:
    """A row of the table `effect`."""

    origin: EffectOrigin
    start: Start
    due_at: datetime | None
    hold_key: str | None
    checkpoint: str | None = None
    attempt: int = 0
    interrupted: bool = False
    lease_until: datetime | None = None
    trouble: str | None = None


@dataclass(slots=True)
class Tables:
    """Everything that is kept, by name of the table."""

    heads: dict[int, ShardHead] = field(default_factory=dict)
    published: dict[int, int] = field(default_factory=dict)
    cursors: dict[TopicPartition, int] = field(default_factory=dict)
    sequences: dict[tuple[str, int], LastSequence] = field(default_factory=dict)
    taken: dict[tuple[str, int, int], UUID] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    versions: set[tuple[str, int]] = field(default_factory=set)
    effects: dict[tuple[int, str], OpenEffect] = field(default_factory=dict)
    dead_letters: dict[tuple[str, str, int, int], DeadLetter] = field(default_factory=dict)
    topic_ids: dict[str, str] = field(default_factory=dict)
    overflow: dict[tuple[str, str, str, date], Overflow] = field(default_factory=dict)
    parkings: dict[int, Parking] = field(default_factory=dict)
    resumed: list[tuple[Parking, str]] = field(default_factory=list)

    def snapshot(self) -> Tables:
        """Return a copy that a transaction may change."""
        return Tables(
            {shard: copy(head) for shard, head in self.heads.items()},
            dict(self.published),
            dict(self.cursors),
            dict(self.sequences),
            dict(self.taken),
            list(self.events),
            set(self.versions),
            {key: copy(effect) for key, effect in self.effects.items()},
            dict(self.dead_letters),
            dict(self.topic_ids),
            dict(self.overflow),
            dict(self.parkings),
            list(self.resumed),
        )


def hashes_at(tables: Tables, positions: Mapping[int, int]) -> dict[int, bytes]:
    """Return, by shard, the hash of the event at a position."""
    return {
        event.shard: event.hash
        for event in tables.events
        if positions.get(event.shard) == event.position
    }


def holds(tables: Tables, shard: int, end: LogEnd) -> bool:
    """Say whether the log has this event there; each one begins at 0."""
    return not end.position or hashes_at(tables, {shard: end.position}) == {shard: end.hash}


def news_of(
    tables: Tables, shard: int, source: str, *, limit: int, told: LogEnd | None
) -> Unpublished | None:
    """Return what is to be published of a shard, None for nothing; `told` is how far it is."""
    published, head = tables.published.get(shard, 0), tables.heads[shard]
    end = LogEnd(head.position, head.hash)
    if told is not None and not holds(tables, shard, told):
        return Unpublished([], end, lost=True)
    if published >= head.position:
        return None
    own = [
        event
        for event in tables.events
        if event.shard == shard and event.position > published and event.source == source
    ][:limit]
    return Unpublished(own, LogEnd(own[-1].position, own[-1].hash) if len(own) == limit else end)


def running(tables: Tables, run: RunKey) -> OpenEffect | None:
    """Return the row of a run that still holds its lease."""
    row = tables.effects.get(run[:2])
    if row is None or row.attempt != run[2] or row.lease_until is None:
        return None
    return row


def due_at_of(row: OpenEffect) -> datetime:
    """Return when a row with a due time is due."""
    if row.due_at is None:
        message = "only effects with a due time are sorted by it"
        raise TypeError(message)
    return row.due_at


def lease(row: OpenEffect, until: datetime) -> LeasedEffect:
    """Lease an effect until a moment; return it as a worker gets it."""
    recovered, row.interrupted = row.interrupted, True
    row.attempt += 1
    row.lease_until = until
    return leased_effect(
        row.origin,
        row.start,
        attempt=row.attempt,
        recovered=recovered,
        checkpoint=row.checkpoint,
    )

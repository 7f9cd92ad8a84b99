"""The tables of the event log in memory."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

from services.runtime.log.event_log import (
    DeadLetter,
    EffectOrigin,
    LastSequence,
    ShardHead,
    StoredEvent,
    TopicPartition,
)
from services.runtime.processor import RunKey, Start


@dataclass(slots=True)
class Effect:
    """A row of the table `effect`."""

    origin: EffectOrigin
    start: Start
    due_at: datetime | None
    hold_key: str | None
    checkpoint: str | None = None
    attempt: int = 0
    interrupted: bool = False
    lease_until: datetime | None = None


@dataclass(slots=True)
class Tables:
    """Everything that is kept, by name of the table."""

    heads: dict[int, ShardHead] = field(default_factory=dict)
    published: dict[int, int] = field(default_factory=dict)
    cursors: dict[TopicPartition, int] = field(default_factory=dict)
    sequences: dict[tuple[str, int], LastSequence] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    versions: set[tuple[str, int]] = field(default_factory=set)
    effects: dict[tuple[int, str], Effect] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def snapshot(self) -> Tables:
        """Return a copy that a transaction may change."""
        return Tables(
            {shard: copy(head) for shard, head in self.heads.items()},
            dict(self.published),
            dict(self.cursors),
            dict(self.sequences),
            list(self.events),
            set(self.versions),
            {key: copy(effect) for key, effect in self.effects.items()},
            list(self.dead_letters),
        )


def running(tables: Tables, run: RunKey) -> Effect | None:
    """Return the row of a run that still holds its lease."""
    row = tables.effects.get(run[:2])
    return row if row is not None and row.attempt == run[2] else None


def due_at_of(row: Effect) -> datetime:
    """Return when a row with a due time is due."""
    if row.due_at is None:
        message = "only effects with a due time are sorted by it"
        raise TypeError(message)
    return row.due_at

"""A turn in two calls: what it locks, and what it writes. The functions are in the migrations."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.runtime.clock.database_clock import DatabaseClock
from services.runtime.effect import JsonObject, Release, RunKey, Start
from services.runtime.errors import Halt, VersionConflict
from services.runtime.log.event_log import (
    EffectOrigin,
    LastSequence,
    LeasedEffect,
    ShardHead,
    StoredEvent,
    TopicPartition,
)
from services.runtime.log.postgres_rows import EVENT_COLUMNS
from services.runtime.log.tables.effects import LEASED, effect_row, stored_lease

_EVENTS_AS_ARGUMENTS_MAX: Final = 32
"""Of more events, a COPY costs less than the arrays."""
LOCK_TURN: Final = "SELECT * FROM lock_turn($1, $2, $3, $4, $5, $6, $7, $8)"
_RECORDED_AT: Final = (
    "SELECT shard, recorded_at FROM event WHERE (shard, position) IN"
    " (SELECT * FROM unnest($1::int[], $2::bigint[]))"
)
_ARGUMENTS: Final = 50
RECORD_TURN: Final = (
    f"SELECT {LEASED}, false AS was_interrupted FROM record_turn("  # noqa: S608 - constants
    + ", ".join(f"${number}" for number in range(1, _ARGUMENTS + 1))
    + ") AS effect"
)


@dataclass(slots=True)
class Locked:
    """What a turn locked: cursors, heads and effects that run; and the sequences of its sources."""

    next_offsets: dict[TopicPartition, int]
    heads: dict[int, ShardHead]
    last_sequences: dict[tuple[str, int], LastSequence]
    live_runs: set[RunKey]


async def lock_turn(  # noqa: PLR0913 - what a turn may want, by name
    connection: Any,  # noqa: ANN401 - pool proxy
    *,
    partitions: Iterable[TopicPartition],
    shards: Iterable[int],
    sources: Iterable[tuple[str, int]],
    runs: Iterable[RunKey],
    clock: DatabaseClock | None,
) -> Locked:
    """Lock cursors, shards and effects, each in sorted order; `clock` takes a reading.

    Raises:
        Halt: a shard does not exist.
    """
    wanted = set(shards)
    asked_at = clock.running() if clock else 0.0
    found = await connection.fetchrow(
        LOCK_TURN,
        *_columns(sorted(set(partitions)), 2),
        sorted(wanted),
        *_columns(sorted(set(sources)), 2),
        *_columns(sorted(runs), 3),
    )
    if clock and wanted:
        clock.read(found["read_at"], asked_at)
    heads = await _heads(connection, found)
    if missing := wanted - heads.keys():
        message = f"shards {sorted(missing)} do not exist: run `perennial setup`"
        raise Halt(message)
    sequences = ("sources", "source_shards", "last_sequences", "last_event_ids")
    return Locked(
        {tuple(place): at for *place, at in _rows(found, "topics", "partitions", "next_offsets")},
        heads,
        {
            (source, shard): LastSequence(sequence, event_id)
            for source, shard, sequence, event_id in _rows(found, *sequences)
        },
        set(_rows(found, "live_shards", "live_effect_ids", "live_attempts")),
    )


async def _heads(connection: Any, found: Mapping[str, Any]) -> dict[int, ShardHead]:  # noqa: ANN401
    names = ("shards", "positions", "hashes", "sequences", "parked", "archived_positions")
    heads = {
        shard: ShardHead(position, hash_, sequence, parked, archived=archived)
        for shard, position, hash_, sequence, parked, archived in _rows(found, *names)
    }
    recorded = dict(_rows(found, "shards", "recorded_ats"))
    # A process of an older version moves the position alone: the log knows when that was recorded.
    unsaid = [shard for shard, head in heads.items() if head.position and not recorded[shard]]
    if unsaid:
        positions = [heads[shard].position for shard in unsaid]
        recorded |= await connection.fetch(_RECORDED_AT, unsaid, positions)
    for shard, moment in recorded.items():
        if moment is not None:
            heads[shard].recorded_at = moment
    return heads


def _rows(found: Mapping[str, Any], *names: str) -> Iterable[tuple[Any, ...]]:
    """Return arrays side by side as rows; NULL is none."""
    return zip(*(found[name] or () for name in names), strict=True)


def _columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Return rows as `width` arrays."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


@dataclass(slots=True)
class StagedTurn:
    """What a turn decided and has not written yet."""

    events: list[StoredEvent] = field(default_factory=list)
    ended: list[tuple[int, str]] = field(default_factory=list)
    again: list[tuple[Any, ...]] = field(default_factory=list)
    begun: list[tuple[object, ...]] = field(default_factory=list)
    freed: list[tuple[int, str]] = field(default_factory=list)
    freed_at: datetime | None = None
    dropped: list[tuple[int, str]] = field(default_factory=list)
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    taken: dict[tuple[str, int], list[LastSequence]] = field(default_factory=dict)

    def begin(self, effects: Sequence[tuple[EffectOrigin, Start]], now: datetime) -> None:
        self.begun += [effect_row(origin, start, now) for origin, start in effects]

    def run_again(
        self,
        effect: tuple[int, str],
        due_at: datetime | None,
        payload: JsonObject | None,
        hold_key: str | None,
    ) -> None:
        """Stage that an effect gives up its lease and waits."""
        content = None if payload is None else json.dumps(payload)
        self.again.append((*effect, due_at, content, hold_key))

    def free(self, releases: Collection[tuple[int, Release]], now: datetime) -> None:
        """Stage that held effects are due, and leased to who writes this."""
        if releases:
            self.freed += [(shard, release.hold_key) for shard, release in releases]
            self.freed_at = now

    async def write(self, connection: Any, lease_seconds: int) -> list[LeasedEffect]:  # noqa: ANN401
        """Write everything in one call, or two when events are many; return the freed effects.

        Raises:
            VersionConflict: another writer appended to one of the streams.
        """
        if self == StagedTurn():
            return []
        try:
            if len(self.events) > _EVENTS_AS_ARGUMENTS_MAX:
                await connection.copy_records_to_table(
                    "event", columns=EVENT_COLUMNS.split(", "), records=self.events
                )
                self.events = []
            rows = await connection.fetch(RECORD_TURN, *self.arguments(lease_seconds))
        except asyncpg.UniqueViolationError as error:
            if error.table_name == "effect":
                raise
            message = "another writer appended to one of these streams first"
            raise VersionConflict(message) from None
        return [stored_lease(row) for row in rows]

    def arguments(self, lease_seconds: int) -> list[Any]:
        """Return what `record_turn` takes, in its order."""
        return [
            *_columns(self.events, len(StoredEvent._fields)),
            *_columns(self.ended, 2),
            *_columns(self.again, 5),
            *_columns(self.begun, 12),
            *_columns(self.freed, 2),
            self.freed_at,
            *_columns(self.dropped, 2),
            *_columns([(*partition, offset) for partition, offset in self.offsets.items()], 3),
            *_columns([_taken(*each) for each in self.taken.items()], 6),
            lease_seconds,
        ]


def _taken(of: tuple[str, int], numbered: Sequence[LastSequence]) -> tuple[Any, ...]:
    """Return (source, shard, last sequence, its event, first sequence, the ids of all)."""
    last = numbered[-1]
    event_ids = b"".join(each.event_id.bytes for each in numbered)
    return *of, last.sequence, last.event_id, last.sequence - len(numbered) + 1, event_ids

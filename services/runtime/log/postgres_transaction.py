"""One unit of work in Postgres: everything commits together or not at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.runtime.clock import DatabaseClock
from services.runtime.errors import VersionConflict
from services.runtime.log.event_log import (
    DeadLetter,
    EffectOrigin,
    LastSequence,
    LeasedEffect,
    Overflow,
    Parking,
    ShardHead,
    StoredEvent,
    TopicPartition,
)
from services.runtime.log.postgres_heads import lock_heads
from services.runtime.log.postgres_rows import (
    COUNT_OVERFLOW,
    EVENT_COLUMNS,
    HASHES_AT,
    INSERT_DEAD_LETTER,
    INSERT_EFFECTS,
    LOAD_STREAMS,
    LOAD_TAKEN,
    MOVE_SEQUENCES,
    PARK,
    RELEASE_HELD,
    UNPARK,
    columns,
    dead_letter_row,
    effect_row,
    leased_effect,
    run_columns,
    sequence_columns,
    stored_event,
    stored_lease,
)
from services.runtime.processor import JsonObject, Release, RunKey, Start

_ROWS_AT_ONCE_MAX: Final = 250
"""How many rows are received and converted before whoever else waits for the loop comes first."""


class PostgresTransaction:
    """Implements `event_log.Transaction` on one connection inside one database transaction."""

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - pool proxy
        lease_seconds: int,
        clock: DatabaseClock | None = None,
    ) -> None:
        """Wrap an open transaction; `PostgresEventLog.transaction` fills in what it locked."""
        self.connection = connection
        self.heads: dict[int, ShardHead] = {}
        self.next_offsets: dict[TopicPartition, int] = {}
        self.last_sequences: dict[tuple[str, int], LastSequence] = {}
        self.taken: dict[tuple[str, int, int], UUID] = {}
        self._taken_now: dict[tuple[str, int], list[UUID]] = {}
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._moved_offsets: dict[TopicPartition, int] = {}
        self._moved_sequences: dict[tuple[str, int], LastSequence] = {}

    async def lock(
        self,
        partitions: Iterable[TopicPartition],
        shards: Iterable[int],
        sources: Iterable[tuple[str, int]],
    ) -> None:
        """Lock cursors, then shards, each in sorted order, so that two workers cannot deadlock."""
        if wanted := sorted(set(partitions)):
            rows = await self.connection.fetch(
                "SELECT topic, partition, next_offset FROM cursor"
                " WHERE (topic, partition) IN (SELECT * FROM unnest($1::text[], $2::int[]))"
                " ORDER BY topic, partition FOR UPDATE",
                [topic for topic, _ in wanted],
                [partition for _, partition in wanted],
            )
            self.next_offsets = {(r["topic"], r["partition"]): r["next_offset"] for r in rows}
        if wanted_shards := set(shards):
            self.heads = await lock_heads(self.connection, wanted_shards, self._clock)
        if pairs := sorted(set(sources)):
            rows = await self.connection.fetch(
                "SELECT source, shard, last_sequence, last_event_id FROM source_sequence"
                " WHERE (source, shard) IN (SELECT * FROM unnest($1::text[], $2::int[]))",
                [source for source, _ in pairs],
                [shard for _, shard in pairs],
            )
            self.last_sequences = {
                (r["source"], r["shard"]): LastSequence(r["last_sequence"], r["last_event_id"])
                for r in rows
            }

    async def load_taken(self, numbers: Collection[tuple[str, int, int]]) -> None:
        """Load which events bear these numbers, as far as it is still known."""
        wanted = sorted(set(numbers))
        columns_ = ([number[column] for number in wanted] for column in range(3))
        rows = await self.connection.fetch(LOAD_TAKEN, *columns_)
        for source, shard, sequence, event_id in rows:
            self.taken[source, shard, sequence] = UUID(bytes=event_id)

    async def load_streams(self, stream_ids: Collection[str]) -> dict[str, list[StoredEvent]]:
        """Return the events of each stream in stream order; a stream never written is absent."""
        streams: dict[str, list[StoredEvent]] = {}
        # The client makes rows of everything that it was sent before it lets go of the loop.
        async for row in self.connection.cursor(
            LOAD_STREAMS, list(stream_ids), prefetch=_ROWS_AT_ONCE_MAX
        ):
            streams.setdefault(row["stream_id"], []).append(stored_event(row))
        return streams

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""
        columns_ = list(positions), list(positions.values())
        rows = await self.connection.fetch(HASHES_AT, *columns_)
        return {row["shard"]: row["hash"] for row in rows}

    async def append(self, events: Sequence[StoredEvent]) -> None:
        """Add rows with one COPY, which moves the heads; raise `VersionConflict` on a taken version."""
        if not events:
            return
        try:
            await self.connection.copy_records_to_table(
                "event",
                columns=EVENT_COLUMNS.split(", "),
                records=events,
            )
        except asyncpg.UniqueViolationError:
            message = "another writer appended to one of these streams first"
            raise VersionConflict(message) from None
        for event in events:
            head = self.heads[event.shard]
            head.position, head.hash = event.position, event.hash
            head.recorded_at = event.recorded_at

    async def start_effects(
        self, effects: Sequence[tuple[EffectOrigin, Start]], *, now: datetime
    ) -> list[LeasedEffect]:
        """Write new effects; those due at once come back leased to the caller."""
        if not effects:
            return []
        rows = [effect_row(origin, start, now) for origin, start in effects]
        arrays = [list(column) for column in zip(*rows, strict=True)]
        await self.connection.execute(INSERT_EFFECTS, *arrays, self._lease_seconds)
        return [
            leased_effect(origin, start)
            for origin, start in effects
            if start.hold_key is None and (start.due_at is None or start.due_at <= now)
        ]

    async def release_effects(
        self, releases: Sequence[tuple[int, Release]], *, now: datetime
    ) -> list[LeasedEffect]:
        """Free effects held under each (shard, key); they come back leased to the caller."""
        if not releases:
            return []
        rows = await self.connection.fetch(
            RELEASE_HELD,
            [shard for shard, _ in releases],
            [release.hold_key for _, release in releases],
            now,
            self._lease_seconds,
        )
        return [stored_lease(row) for row in rows]

    async def drop_effects(self, keys: Sequence[tuple[int, str]]) -> None:
        """Delete effects held under each (shard, key)."""
        if keys:
            await self.connection.execute(
                "DELETE FROM effect USING unnest($1::int[], $2::text[]) AS held(shard, hold_key)"
                " WHERE effect.shard = held.shard AND effect.hold_key = held.hold_key",
                *columns(keys),
            )

    async def hold_running(self, runs: Sequence[RunKey]) -> set[RunKey]:
        """Lock the rows of running effects; return the runs that still hold their lease."""
        rows = await self.connection.fetch(
            "SELECT shard, effect_id, attempt FROM effect WHERE (shard, effect_id, attempt) IN"
            " (SELECT * FROM unnest($1::int[], $2::text[], $3::int[]))"
            " ORDER BY shard, effect_id FOR UPDATE",
            *run_columns(runs),
        )
        return {(row["shard"], row["effect_id"], row["attempt"]) for row in rows}

    async def finish_effects(self, effects: Sequence[tuple[int, str]]) -> None:
        """Delete effects whose result this transaction records."""
        if effects:
            await self.connection.execute(
                "DELETE FROM effect WHERE (shard, effect_id) IN"
                " (SELECT * FROM unnest($1::int[], $2::text[]))",
                *columns(effects),
            )

    async def reschedule_effect(
        self,
        effect: tuple[int, str],
        *,
        due_at: datetime | None,
        payload: JsonObject | None,
        hold_key: str | None,
    ) -> None:
        """Give up the lease and run the effect again at `due_at`."""
        await self.connection.execute(
            "UPDATE effect SET due_at = $3, payload = coalesce($4::jsonb, payload), hold_key = $5,"
            " lease_until = NULL, interrupted = false, checkpoint = NULL, trouble = NULL"
            " WHERE shard = $1 AND effect_id = $2",
            *effect,
            due_at,
            None if payload is None else json.dumps(payload),
            hold_key,
        )

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep records that cannot be handled."""
        await self.connection.executemany(
            INSERT_DEAD_LETTER, [dead_letter_row(letter) for letter in letters]
        )

    async def open_dead_letters(self, topics: Collection[str] | None = None) -> int:
        """Count the dead letters, of `topics` or all, that nobody has redriven or discarded."""
        count: int = await self.connection.fetchval(
            "SELECT count(*) FROM dead_letter WHERE closed_at IS NULL"
            " AND ($1::text[] IS NULL OR topic = ANY($1))",
            None if topics is None else list(topics),
        )
        return count

    async def open_letters(self) -> list[tuple[str, str | None, int]]:
        """Return (source, account, how many) of open dead letters that wait for no parked shard."""
        rows = await self.connection.fetch(
            "SELECT source, account_id, count(*) FROM dead_letter"
            " WHERE closed_at IS NULL AND parked_shard IS NULL GROUP BY source, account_id"
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def count_overflow(self, overflows: Sequence[Overflow]) -> None:
        """Count dead letters that are not kept here; sorted, so that two writers cannot deadlock."""
        arrays = [list(column) for column in zip(*sorted(overflows), strict=True)]
        await self.connection.execute(COUNT_OVERFLOW, *arrays)

    async def park(self, parking: Parking) -> None:
        """Have a locked shard wait for a person; an open parking of it gets the newer reason."""
        shard, reason, detail, *record = astuple(parking)
        self.heads[shard].parked = True
        await self.connection.execute("UPDATE shard SET parked = true WHERE shard = $1", shard)
        await self.connection.execute(PARK, shard, reason, detail[:500], *record)

    async def unpark(self, shard: int, answer: str) -> None:
        """Let a locked shard go on, and keep `answer` with its parking."""
        self.heads[shard].parked = False
        await self.connection.execute("UPDATE shard SET parked = false WHERE shard = $1", shard)
        await self.connection.execute(UNPARK, shard, answer)

    def move_cursor(self, partition: TopicPartition, next_offset: int) -> None:
        """Set the consumer offset that commits with this transaction."""
        self._moved_offsets[partition] = next_offset

    def move_sequence(self, source: str, shard: int, last: LastSequence) -> None:
        """Set the high-water mark of a source that commits with this transaction."""
        self.last_sequences[source, shard] = last
        self._moved_sequences[source, shard] = last
        self.taken[source, shard, last.sequence] = last.event_id
        self._taken_now.setdefault((source, shard), []).append(last.event_id)

    async def write_marks(self) -> None:
        """Write the moved cursors and sequences: the last statements before commit."""
        if moved := self._moved_offsets:
            await self.connection.execute(
                "UPDATE cursor SET next_offset = moved.next_offset"
                " FROM unnest($1::text[], $2::int[], $3::bigint[])"
                " AS moved(topic, partition, next_offset)"
                " WHERE cursor.topic = moved.topic AND cursor.partition = moved.partition",
                [topic for topic, _ in moved],
                [partition for _, partition in moved],
                list(moved.values()),
            )
        if sequences := self._moved_sequences:
            rows = [
                (source, shard, last.sequence, last.event_id, self._taken_now[source, shard])
                for (source, shard), last in sequences.items()
            ]
            await self.connection.execute(MOVE_SEQUENCES, *sequence_columns(rows))

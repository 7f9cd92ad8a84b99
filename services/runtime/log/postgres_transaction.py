"""One unit of work in Postgres: everything commits together or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.runtime.clock.database_clock import DatabaseClock
from services.runtime.effect import JsonObject, Release, RunKey, Start
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
from services.runtime.log.leasing import leased_effect
from services.runtime.log.postgres_rows import (
    HASHES_AT,
    LOAD_SHORT_STREAMS,
    LOAD_STREAMS,
    LOAD_TAKEN,
    stored_event,
)
from services.runtime.log.postgres_turns import StagedTurn, lock_turn
from services.runtime.log.tables import dead_letters, parked_shards

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
        self.live_runs: set[RunKey] = set()
        self.taken: dict[tuple[str, int, int], UUID] = {}
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._staged = StagedTurn()
        self._released: list[LeasedEffect] = []

    async def lock(
        self,
        partitions: Iterable[TopicPartition],
        shards: Iterable[int],
        sources: Iterable[tuple[str, int]],
        runs: Iterable[RunKey] = (),
    ) -> None:
        """Lock cursors, shards, then effects, each in sorted order: two workers cannot deadlock."""
        locked = await lock_turn(
            self.connection,
            partitions=partitions,
            shards=shards,
            sources=sources,
            runs=runs,
            clock=self._clock,
        )
        self.next_offsets, self.heads = locked.next_offsets, locked.heads
        self.last_sequences, self.live_runs = locked.last_sequences, locked.live_runs

    async def load_taken(self, numbers: Collection[tuple[str, int, int]]) -> None:
        """Load which events bear these numbers, as far as it is still known."""
        wanted = sorted(set(numbers))
        columns_ = ([number[column] for number in wanted] for column in range(3))
        rows = await self.connection.fetch(LOAD_TAKEN, *columns_)
        for source, shard, sequence, event_id in rows:
            self.taken[source, shard, sequence] = UUID(bytes=event_id)

    async def load_streams(self, stream_ids: Collection[str]) -> dict[str, list[StoredEvent]]:
        """Return the events of each stream in stream order; a stream never written is absent."""
        await self._write()
        wanted = list(stream_ids)
        streams: dict[str, list[StoredEvent]] = {}
        rows = await self.connection.fetch(LOAD_SHORT_STREAMS, wanted, _ROWS_AT_ONCE_MAX + 1)
        if len(rows) <= _ROWS_AT_ONCE_MAX:
            for row in rows:
                streams.setdefault(row["stream_id"], []).append(stored_event(row))
            return streams
        # The client makes rows of everything that it was sent before it lets go of the loop.
        async for row in self.connection.cursor(LOAD_STREAMS, wanted, prefetch=_ROWS_AT_ONCE_MAX):
            streams.setdefault(row["stream_id"], []).append(stored_event(row))
        return streams

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""
        columns_ = list(positions), list(positions.values())
        rows = await self.connection.fetch(HASHES_AT, *columns_)
        return {row["shard"]: row["hash"] for row in rows}

    async def append(self, events: Sequence[StoredEvent]) -> None:
        """Stage rows and move the heads."""
        self._staged.events += events
        for event in events:
            head = self.heads[event.shard]
            head.position, head.hash = event.position, event.hash
            head.recorded_at = event.recorded_at

    async def start_effects(
        self, effects: Sequence[tuple[EffectOrigin, Start]], *, now: datetime
    ) -> list[LeasedEffect]:
        """Stage new effects; those due at once come back leased to the caller."""
        self._staged.begin(effects, now)
        return [
            leased_effect(origin, start)
            for origin, start in effects
            if start.hold_key is None and (start.due_at is None or start.due_at <= now)
        ]

    async def release_effects(
        self, releases: Sequence[tuple[int, Release]], *, now: datetime
    ) -> None:
        """Stage that effects held under each (shard, key) are free; `write_staged` returns them."""
        self._staged.free(releases, now)

    async def drop_effects(self, keys: Sequence[tuple[int, str]]) -> None:
        """Stage the end of effects held under each (shard, key)."""
        self._staged.dropped += keys

    async def finish_effects(self, effects: Sequence[tuple[int, str]]) -> None:
        """Stage the end of effects whose result this transaction records."""
        self._staged.ended += effects

    async def reschedule_effect(
        self,
        effect: tuple[int, str],
        *,
        due_at: datetime | None,
        payload: JsonObject | None,
        hold_key: str | None,
    ) -> None:
        """Stage that an effect gives up its lease and runs again at `due_at`."""
        self._staged.run_again(effect, due_at, payload, hold_key)

    async def write_staged(self) -> list[LeasedEffect]:
        """Write what is staged; return the released effects, leased to the caller."""
        await self._write()
        released, self._released = self._released, []
        return released

    async def _write(self) -> None:
        staged, self._staged = self._staged, StagedTurn()
        self._released += await staged.write(self.connection, self._lease_seconds)

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep records that cannot be handled."""
        await self.connection.executemany(
            dead_letters.INSERT, [dead_letters.dead_letter_row(letter) for letter in letters]
        )

    async def open_dead_letters(self, topics: Collection[str] | None = None) -> int:
        """Count the dead letters, of `topics` or all, that nobody has redriven or discarded."""
        count: int = await self.connection.fetchval(
            dead_letters.COUNT_OPEN,
            None if topics is None else list(topics),
        )
        return count

    async def open_letters(self) -> list[tuple[str, str | None, int]]:
        """Return (source, account, how many) of open dead letters that wait for no parked shard."""
        rows = await self.connection.fetch(dead_letters.OPEN_BY_ACCOUNT)
        return [(row[0], row[1], row[2]) for row in rows]

    async def count_overflow(self, overflows: Sequence[Overflow]) -> None:
        """Count dead letters that are not kept here; sorted, so that two writers cannot deadlock."""
        arrays = [list(column) for column in zip(*sorted(overflows), strict=True)]
        await self.connection.execute(dead_letters.COUNT_OVERFLOW, *arrays)

    async def park(self, parking: Parking) -> None:
        """Have a locked shard wait for a person; an open parking of it gets the newer reason."""
        shard, reason, detail, *record = astuple(parking)
        self.heads[shard].parked = True
        await self.connection.execute("UPDATE shard SET parked = true WHERE shard = $1", shard)
        await self.connection.execute(parked_shards.PARK, shard, reason, detail[:500], *record)

    async def unpark(self, shard: int, answer: str) -> None:
        """Let a locked shard go on, and keep `answer` with its parking."""
        self.heads[shard].parked = False
        await self.connection.execute("UPDATE shard SET parked = false WHERE shard = $1", shard)
        await self.connection.execute(parked_shards.UNPARK, shard, answer)

    def move_cursor(self, partition: TopicPartition, next_offset: int) -> None:
        """Stage the consumer offset that commits with this transaction."""
        self._staged.offsets[partition] = next_offset

    def move_sequence(self, source: str, shard: int, last: LastSequence) -> None:
        """Stage the high-water mark of a source that commits with this transaction."""
        self.last_sequences[source, shard] = last
        self.taken[source, shard, last.sequence] = last.event_id
        self._staged.taken.setdefault((source, shard), []).append(last)

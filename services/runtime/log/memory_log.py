"""The event log in memory, for specifications: same contract and same suite as the one in Postgres."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from services.runtime.clock.database_clock import TOLERANCE_SECONDS
from services.runtime.effect import JsonObject, Release, RunKey, Start
from services.runtime.errors import Halt, VersionConflict
from services.runtime.log.event_log import (
    LEASE_SECONDS_MAX,
    NOTHING_ACKNOWLEDGED,
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
from services.runtime.log.memory_tables import (
    OpenEffect,
    Tables,
    due_at_of,
    hashes_at,
    holds,
    lease,
    news_of,
    running,
)


class MemoryTransaction:
    """Implements `event_log.Transaction` on a private copy of the tables."""

    connection = None

    def __init__(
        self, tables: Tables, lease_time: timedelta, wall_clock: Callable[[], datetime]
    ) -> None:
        """Work on `tables`; the log puts them in place on commit."""
        self._tables = tables
        self._lease_time = lease_time
        self._wall_clock = wall_clock
        self.heads: dict[int, ShardHead] = {}
        self.next_offsets: dict[TopicPartition, int] = {}
        self.last_sequences: dict[tuple[str, int], LastSequence] = {}
        self.taken: dict[tuple[str, int, int], UUID] = {}
        self.live_runs: set[RunKey] = set()
        self._released: list[LeasedEffect] = []

    async def load_taken(self, numbers: Collection[tuple[str, int, int]]) -> None:
        """Load which events bear these numbers."""
        known = self._tables.taken
        self.taken |= {number: known[number] for number in numbers if number in known}

    async def load_streams(self, stream_ids: Collection[str]) -> dict[str, list[StoredEvent]]:
        """Return the events of each stream in stream order; a stream never written is absent."""
        streams: dict[str, list[StoredEvent]] = {}
        for event in sorted(self._tables.events, key=lambda event: event.stream_version):
            if event.stream_id in stream_ids:
                streams.setdefault(event.stream_id, []).append(event)
        return streams

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""
        return hashes_at(self._tables, positions)

    async def append(self, events: Sequence[StoredEvent]) -> None:
        """Add rows and move the heads; raise `VersionConflict` on a taken version."""
        for event in events:
            key = (event.stream_id, event.stream_version)
            if key in self._tables.versions:
                message = "another writer appended to one of these streams first"
                raise VersionConflict(message)
            self._tables.versions.add(key)
            self._tables.events.append(event)
            head = self.heads[event.shard]
            head.position, head.hash = event.position, event.hash
            head.recorded_at = event.recorded_at

    async def start_effects(
        self, effects: Sequence[tuple[EffectOrigin, Start]], *, now: datetime
    ) -> list[LeasedEffect]:
        """Write new effects; those due at once come back leased to the caller."""
        leased = []
        for origin, start in effects:
            due_at = start.due_at if start.due_at or start.hold_key else now
            key = (origin.shard, start.effect_id)
            row = OpenEffect(origin, start, due_at, start.hold_key)
            if key in self._tables.effects:
                message = f"effect {start.effect_id} is there already"
                raise ValueError(message)
            self._tables.effects[key] = row
            if start.hold_key is None and due_at is not None and due_at <= now:
                leased.append(self._leased(row))
        return leased

    async def release_effects(
        self, releases: Sequence[tuple[int, Release]], *, now: datetime
    ) -> None:
        """Free effects held under each (shard, key)."""
        wanted = {(shard, release.hold_key) for shard, release in releases}
        for (shard, _), row in self._tables.effects.items():
            if row.hold_key is not None and (shard, row.hold_key) in wanted:
                row.hold_key, row.due_at = None, now
                self._released.append(self._leased(row))

    def _leased(self, row: OpenEffect) -> LeasedEffect:
        return lease(row, self._wall_clock() + self._lease_time)

    async def write_staged(self) -> list[LeasedEffect]:
        """Return the released effects; everything else is written where it is staged."""
        released, self._released = self._released, []
        return released

    async def drop_effects(self, keys: Sequence[tuple[int, str]]) -> None:
        """Delete effects held under each (shard, key)."""
        for key, row in list(self._tables.effects.items()):
            if row.hold_key is not None and (key[0], row.hold_key) in keys:
                del self._tables.effects[key]

    async def finish_effects(self, effects: Sequence[tuple[int, str]]) -> None:
        """Delete effects whose result this transaction records."""
        for key in effects:
            self._tables.effects.pop(key, None)

    async def reschedule_effect(
        self,
        effect: tuple[int, str],
        *,
        due_at: datetime | None,
        payload: JsonObject | None,
        hold_key: str | None,
    ) -> None:
        """Give up the lease and run the effect again at `due_at`."""
        row = self._tables.effects[effect]
        row.due_at, row.hold_key, row.lease_until = due_at, hold_key, None
        row.interrupted, row.checkpoint, row.trouble = False, None, None
        if payload is not None:
            row.start = replace(row.start, payload=payload)

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep records that cannot be handled."""
        ids = self._tables.topic_ids
        for letter in letters:
            key = (letter.topic, ids.get(letter.topic, ""), letter.partition, letter.record_offset)
            self._tables.dead_letters.setdefault(key, letter)

    async def open_dead_letters(self, topics: Collection[str] | None = None) -> int:
        """Count the dead letters, of `topics` or all."""
        letters = self._tables.dead_letters.values()
        return sum(topics is None or letter.topic in topics for letter in letters)

    async def open_letters(self) -> list[tuple[str, str | None, int]]:
        """Return (source, account, how many) of open dead letters that wait for no parked shard."""
        letters = self._tables.dead_letters.values()
        counts = Counter(
            (each.source, each.account_id) for each in letters if each.parked_shard is None
        )
        return [(source, account_id, count) for (source, account_id), count in counts.items()]

    async def count_overflow(self, overflows: Sequence[Overflow]) -> None:
        """Count dead letters that are not kept here."""
        for each in overflows:
            key = (each.topic, each.source, each.reason, each.newest_at.date())
            known = self._tables.overflow.get(key)
            more = known.letters if known else 0
            self._tables.overflow[key] = each._replace(letters=each.letters + more)

    async def park(self, parking: Parking) -> None:
        """Have a locked shard wait for a person."""
        self.heads[parking.shard].parked = True
        self._tables.parkings[parking.shard] = parking

    async def unpark(self, shard: int, answer: str) -> None:
        """Let a locked shard go on."""
        self.heads[shard].parked = False
        self._tables.resumed.append((self._tables.parkings.pop(shard), answer))

    def move_cursor(self, partition: TopicPartition, next_offset: int) -> None:
        """Set the consumer offset that commits with this transaction."""
        self._tables.cursors[partition] = next_offset

    def move_sequence(self, source: str, shard: int, last: LastSequence) -> None:
        """Set the high-water mark of a source that commits with this transaction."""
        self.last_sequences[source, shard] = last
        self._tables.sequences[source, shard] = last
        self.taken[source, shard, last.sequence] = last.event_id
        self._tables.taken[source, shard, last.sequence] = last.event_id


class MemoryEventLog:
    """Implements `event_log.EventLog`: one writer at a time, everything lost at exit."""

    def __init__(
        self, *, shard_count: int, lease_seconds: int, wall_clock: Callable[[], datetime]
    ) -> None:
        """Start empty with `shard_count` shards; `wall_clock` stands for the database's clock."""
        self._tables = Tables(heads={shard: ShardHead() for shard in range(shard_count)})
        self._lease = timedelta(seconds=lease_seconds)
        self._wall_clock = wall_clock
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def transaction(
        self,
        *,
        partitions: Iterable[TopicPartition] = (),
        shards: Iterable[int] = (),
        sources: Iterable[tuple[str, int]] = (),
        runs: Iterable[RunKey] = (),
    ) -> AsyncIterator[MemoryTransaction]:
        """Work on a copy and put it in place on exit."""
        async with self._lock:
            tables = self._tables.snapshot()
            tx = MemoryTransaction(tables, self._lease, self._wall_clock)
            wanted = set(shards)
            if missing := wanted - tables.heads.keys():
                message = f"shards {sorted(missing)} do not exist: run `perennial setup`"
                raise Halt(message)
            tx.heads = {shard: tables.heads[shard] for shard in wanted}
            tx.next_offsets = {
                key: tables.cursors[key] for key in set(partitions) if key in tables.cursors
            }
            tx.last_sequences = {
                key: tables.sequences[key] for key in set(sources) if key in tables.sequences
            }
            tx.live_runs = {run for run in runs if running(tables, run) is not None}
            yield tx
            self._tables = tables

    async def ensure_cursors(self, first_offsets: Mapping[TopicPartition, int]) -> None:
        """Create the cursors that do not exist yet, at the given offsets."""
        self._tables.cursors = dict(first_offsets) | self._tables.cursors

    async def cursors(self) -> dict[TopicPartition, int]:
        return dict(self._tables.cursors)

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""
        return hashes_at(self._tables, positions)

    async def ends(self) -> dict[int, LogEnd]:
        """Return what each shard ends with."""
        heads = self._tables.heads
        return {shard: LogEnd(head.position, head.hash) for shard, head in heads.items()}

    async def archived(self) -> dict[int, int]:
        """Return that nothing is: memory has no files."""
        return {}

    async def server(self) -> str:
        """Return that there is nothing to tell apart."""
        return ""

    def trust(self, server: str) -> None:
        """Have no other server to keep from."""

    async def parkings(self) -> list[Parking]:
        """Return why which shards wait for a person, in the order of the shards."""
        return [parking for _, parking in sorted(self._tables.parkings.items())]

    async def unpublished(
        self,
        source: str,
        shards: Collection[int],
        *,
        limit: int,
        acknowledged: Mapping[int, LogEnd] = NOTHING_ACKNOWLEDGED,
    ) -> dict[int, Unpublished]:
        """Mark what is acknowledged; return for each shard with news the first events of `source`."""
        await self.mark_published(acknowledged)
        news = {
            shard: news_of(self._tables, shard, source, limit=limit, told=acknowledged.get(shard))
            for shard in shards
        }
        return {shard: each for shard, each in news.items() if each is not None}

    async def publishing(self, shards: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return for each shard how far it is published, and where it ends."""
        return {
            shard: (self._tables.published.get(shard, 0), self._tables.heads[shard].position)
            for shard in shards
        }

    async def mark_published(self, ends: Mapping[int, LogEnd]) -> None:
        """Record that everything up to each shard's end is on the topic; never moves back."""
        published = self._tables.published
        for shard, end in ends.items():
            if holds(self._tables, shard, end):
                published[shard] = max(published.get(shard, 0), end.position)

    async def lease_due_effects(self, *, now: datetime, limit: int) -> list[LeasedEffect]:
        """Lease effects that are due and not leased by anyone alive."""
        wall = self._wall_clock()
        longest = wall + timedelta(seconds=LEASE_SECONDS_MAX + TOLERANCE_SECONDS)
        due = [
            row
            for row in self._tables.effects.values()
            if row.due_at is not None
            and row.due_at <= now
            and (row.lease_until is None or not wall <= row.lease_until <= longest)
            and row.origin.shard not in self._tables.parkings
        ]
        leased = []
        for row in sorted(due, key=due_at_of)[:limit]:
            row.hold_key = None
            leased.append(lease(row, wall + self._lease))
        return leased

    async def mark_effects(self, checkpoints: Mapping[RunKey, str]) -> set[RunKey]:
        """Keep checkpoints of running effects; return the runs that still hold their lease."""
        held = set()
        for run, checkpoint in checkpoints.items():
            if (row := running(self._tables, run)) is not None:
                row.checkpoint = checkpoint
                held.add(run)
        return held

    async def set_effect_aside(self, run: RunKey, *, due_at: datetime, trouble: str) -> None:
        """Give up the lease of a run whose result cannot be recorded; it is due again at `due_at`."""
        if (row := running(self._tables, run)) is not None:
            row.due_at, row.lease_until, row.trouble = due_at, None, trouble

    async def extend_leases(self, runs: Collection[RunKey]) -> None:
        """Keep running effects from being leased by another worker."""
        for run in runs:
            if (row := running(self._tables, run)) is not None:
                row.lease_until = self._wall_clock() + self._lease

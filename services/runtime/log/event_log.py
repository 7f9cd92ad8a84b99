"""The event log as a contract: what one locked transaction can see and do.

`postgres_log` and `memory_log` implement it and pass the same suite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from schemas.envelope import Event, utc_text
from schemas.registry import EventRegistry
from services.runtime.effect import EffectRun, JsonObject, Release, RunKey, Start
from services.runtime.errors import Park

GENESIS_HASH = bytes(32)
UNKNOWN_STORED_EVENT = "unknown_stored_event"
REMAINS = "archived"
"""The type of the row that stands for all events of a stream that is archived; see `load_streams`."""
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
TopicPartition = tuple[str, int]


LEASE_SECONDS_MAX: Final = 3_600
"""The longest lease that a process may be set to: one that ends later is of a clock that was wrong."""


class StoredEvent(NamedTuple):
    """One row of the log. `sequence` counts, per source and shard, the events that source published."""

    shard: int
    position: int
    stream_id: str
    stream_version: int
    event_id: UUID
    source: str
    type: str
    sequence: int
    account_id: str
    correlation_id: str
    causation_id: UUID | None
    traceparent: str | None
    occurred_at: datetime
    recorded_at: datetime
    body: bytes
    hash: bytes = b""

    def event(self, registry: EventRegistry) -> Event:
        """Return the body as `registry` parses it.

        Raises:
            Park: the type is unknown to this version of the code.
        """
        model = registry.types.get(self.type)
        if model is None:
            message = (
                f"the log holds {self.type}, which this version does not know: "
                "deploy the version that wrote it, or a newer one"
            )
            raise Park(UNKNOWN_STORED_EVENT, message)
        return model.parse(self.body)


def chain_hash(previous: bytes, event: StoredEvent) -> bytes:
    """Return sha256(previous || canonical bytes): every column but the hash, then the exact body."""
    head = "\n".join(
        (
            f"{event.shard} {event.position} {event.stream_version} {event.sequence}",
            event.stream_id,
            f"{event.event_id} {event.source} {event.type}",
            event.account_id,
            event.correlation_id,
            f"{event.causation_id or ''} {event.traceparent or ''}",
            f"{utc_text(event.occurred_at)} {utc_text(event.recorded_at)}",
            "",
        )
    )
    return hashlib.sha256(previous + head.encode() + event.body).digest()


class LogEnd(NamedTuple):
    """An event of a shard by its place and its hash: no other log has the same."""

    position: int
    hash: bytes


@dataclass(slots=True)
class ShardHead:
    """Where a shard's log ends: `position` and `hash` of its last event, `sequence` of our last own.

    Nothing is recorded in a `parked` shard: it waits for a person. Nothing that follows is recorded
    before `recorded_at`, whatever a clock says. Up to `archived`, events are in files.
    """

    position: int = 0
    hash: bytes = GENESIS_HASH
    sequence: int = 0
    parked: bool = False
    recorded_at: datetime = BEFORE_ALL
    archived: int = 0


@dataclass(frozen=True, slots=True)
class LastSequence:
    """The newest `sequence` taken from a source in a shard, and the event that bore it."""

    sequence: int
    event_id: UUID


class Whole(NamedTuple):
    """What a letter was before it was cut: the bytes of its record, and the hash of its value."""

    record_bytes: int
    value_sha256: bytes


class DeadLetter(NamedTuple):
    """A record that could not be handled, kept as the exact bytes that arrived.

    `whole` is set when only the beginning is kept.
    """

    topic: str
    partition: int
    record_offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    reason: str
    detail: str
    attempts: int
    dead_lettered_at: datetime
    source: str = "unknown"
    account_id: str | None = None
    parked_shard: int | None = None
    """The parked shard that the record waits for, when it lies in another partition."""
    whole: Whole | None = None


@dataclass(frozen=True, slots=True)
class Parking:
    """Why a shard waits: the record that could not be handled, as far as it is known."""

    shard: int
    reason: str
    detail: str
    topic: str | None = None
    partition: int | None = None
    record_offset: int | None = None
    event_id: UUID | None = None
    event_type: str | None = None
    source: str | None = None
    sequence: int | None = None


class Overflow(NamedTuple):
    """Dead letters that are on their topic alone: how many of a source and reason, and the newest."""

    topic: str
    source: str
    reason: str
    letters: int
    newest_at: datetime
    partition: int
    record_offset: int


class EffectOrigin(NamedTuple):
    """The stream and the event that an effect belongs to."""

    shard: int
    account_id: str
    stream_id: str
    cause_event_id: UUID
    correlation_id: str
    traceparent: str | None


class LeasedEffect(NamedTuple):
    """An effect as a worker gets it, with what its result event will need."""

    run: EffectRun
    origin: EffectOrigin


NOTHING_ACKNOWLEDGED: Final[Mapping[int, LogEnd]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Own events to publish, in position order, and the position up to which that is complete.

    `through` lies beyond the last event where only events of other sources follow. Of a shard that
    is `lost` there are none: the log has another event where it was acknowledged, or ends before.
    """

    events: list[StoredEvent]
    through: LogEnd
    lost: bool = False


class Transaction(Protocol):
    """One unit of work over locked cursors and shards. Everything commits together or not at all."""

    @property
    def connection(self) -> Any:  # noqa: ANN401 - asyncpg's, for projections; None in memory
        """The database connection that the transaction is open on."""

    @property
    def heads(self) -> Mapping[int, ShardHead]: ...

    @property
    def next_offsets(self) -> Mapping[TopicPartition, int]: ...

    @property
    def last_sequences(self) -> Mapping[tuple[str, int], LastSequence]:
        """The newest sequence of each wanted source and shard; absent when there is none."""

    @property
    def live_runs(self) -> Collection[RunKey]:
        """The wanted runs of effects that still hold their lease; their rows are locked."""

    @property
    def taken(self) -> Mapping[tuple[str, int, int], UUID]:
        """By source, shard and sequence: the events taken in this transaction, and those loaded."""

    async def load_taken(self, numbers: Collection[tuple[str, int, int]]) -> None:
        """Load which events bear these numbers, as far as it is still known."""

    async def load_streams(self, stream_ids: Collection[str]) -> dict[str, list[StoredEvent]]:
        """Return the events of each stream in stream order; a stream never written is absent.

        Of one that is archived, a row of the type `REMAINS` stands behind its last event and for
        all up to there: its body is what is left of the stream's state.
        """

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""

    async def append(self, events: Sequence[StoredEvent]) -> None:
        """Stage rows whose shards are locked, and move the heads."""

    async def start_effects(
        self, effects: Sequence[tuple[EffectOrigin, Start]], *, now: datetime
    ) -> list[LeasedEffect]:
        """Stage new effects; those due at once come back leased to the caller."""

    async def release_effects(
        self, releases: Sequence[tuple[int, Release]], *, now: datetime
    ) -> None:
        """Stage that effects held under each (shard, key) are free; `write_staged` returns them."""

    async def drop_effects(self, keys: Sequence[tuple[int, str]]) -> None:
        """Stage the end of effects held under each (shard, key)."""

    async def finish_effects(self, effects: Sequence[tuple[int, str]]) -> None:
        """Stage the end of effects whose result this transaction records."""

    async def reschedule_effect(
        self,
        effect: tuple[int, str],
        *,
        due_at: datetime | None,
        payload: JsonObject | None,
        hold_key: str | None,
    ) -> None:
        """Stage that the effect gives up its lease and runs again; its last outcome is recorded."""

    async def write_staged(self) -> list[LeasedEffect]:
        """Write what is staged, as the end of the transaction does; return the released effects.

        Raises:
            VersionConflict: (stream_id, stream_version) exists, in this or another shard.
        """

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep records that cannot be handled; one that its topic, not its name, is known for once."""

    async def open_dead_letters(self, topics: Collection[str] | None = None) -> int:
        """Count the dead letters, of `topics` or all, that nobody has redriven or discarded."""

    async def open_letters(self) -> list[tuple[str, str | None, int]]:
        """Return (source, account, how many) of open dead letters that wait for no parked shard."""

    async def count_overflow(self, overflows: Sequence[Overflow]) -> None:
        """Count dead letters that are not kept here."""

    async def park(self, parking: Parking) -> None:
        """Have a locked shard wait for a person; an open parking of it gets the newer reason."""

    async def unpark(self, shard: int, answer: str) -> None:
        """Let a locked shard go on, and keep `answer` with its parking."""

    def move_cursor(self, partition: TopicPartition, next_offset: int) -> None:
        """Stage the consumer offset that commits with this transaction."""

    def move_sequence(self, source: str, shard: int, last: LastSequence) -> None:
        """Stage the high-water mark of a source that commits with this transaction."""


class EventLog(Protocol):
    """Where a service keeps its events, cursors and effects."""

    def transaction(
        self,
        *,
        partitions: Iterable[TopicPartition] = (),
        shards: Iterable[int] = (),
        sources: Iterable[tuple[str, int]] = (),
        runs: Iterable[RunKey] = (),
    ) -> AbstractAsyncContextManager[Transaction]:
        """Lock cursors, shards, then effects that run, each in sorted order, and commit on exit.

        Raises:
            Transient: the database is unreachable, or ended the transaction; try again.
        """

    async def ensure_cursors(self, first_offsets: Mapping[TopicPartition, int]) -> None:
        """Create the cursors that do not exist yet, at the given offsets."""

    async def cursors(self) -> dict[TopicPartition, int]: ...

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""

    async def ends(self) -> dict[int, LogEnd]:
        """Return what each shard ends with."""

    async def archived(self) -> dict[int, int]:
        """Return by shard up to which position events are in files, where any are."""

    async def server(self) -> str:
        """Return what tells a server and its timeline from others; empty when it does not say."""

    def trust(self, server: str) -> None:
        """Work on this server and timeline; on any other one, nothing before that is trusted too."""

    async def parkings(self) -> list[Parking]:
        """Return why which shards wait for a person, in the order of the shards."""

    async def unpublished(
        self,
        source: str,
        shards: Collection[int],
        *,
        limit: int,
        acknowledged: Mapping[int, LogEnd] = NOTHING_ACKNOWLEDGED,
    ) -> dict[int, Unpublished]:
        """Return, for each shard with news, the first events of `source` not yet published.

        Up to its end in `acknowledged` a shard is published, and marked so unless it is locked. An
        end that the log does not hold is not believed, and the shard is `lost`.
        """

    async def publishing(self, shards: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return for each shard how far it is published, and where it ends."""

    async def mark_published(self, ends: Mapping[int, LogEnd]) -> None:
        """Record that everything up to each shard's end is on the topic; never moves back.

        Nothing is recorded of an end that the log does not hold.
        """

    async def lease_due_effects(self, *, now: datetime, limit: int) -> list[LeasedEffect]:
        """Lease effects that are due and not leased by anyone alive.

        A lease that ends later than one can was taken by a clock that was wrong: it is free.
        """

    async def mark_effects(self, checkpoints: Mapping[RunKey, str]) -> set[RunKey]:
        """Commit checkpoints of running effects; return the runs that still hold their lease."""

    async def set_effect_aside(self, run: RunKey, *, due_at: datetime, trouble: str) -> None:
        """Give up the lease of a run whose result cannot be recorded; it is due again at `due_at`."""

    async def extend_leases(self, runs: Collection[RunKey]) -> None:
        """Keep running effects from being leased by another worker."""

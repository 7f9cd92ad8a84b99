"""How one service stands, read from its tables and its topics: for a person, not for a scrape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from services.runtime.log.event_log import Parking, TopicPartition
from services.runtime.log.tables import cursors as cursors_table
from services.runtime.log.tables import dead_letters as letters_table
from services.runtime.log.tables.effects import COUNTED, EffectState
from services.runtime.log.tables.parked_shards import PARKINGS
from services.runtime.postgres.errors import transient_when_unwell

_SHARDS: Final = (
    "SELECT shard, head_position, head_hash, published_position FROM shard ORDER BY shard"
)
_UNPUBLISHED: Final = (
    "SELECT min(event.recorded_at) FROM shard JOIN event ON event.shard = shard.shard"
    " AND event.position = shard.published_position + 1"
)


class Bounds(NamedTuple):
    """What of a partition may be read, `first` up to but without `end`, and the records behind that."""

    first: int
    end: int
    held_back: int = 0


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Where a cursor stands in what its partition holds: offsets `first` up to but without `end`.

    An open transaction holds back so many records behind `end`.
    """

    topic: str
    partition: int
    next_offset: int
    first: int
    end: int
    held_back: int = 0

    @property
    def lag(self) -> int:
        return max(0, self.end - self.next_offset)

    @property
    def lost(self) -> bool:
        """Whether the topic no longer holds what comes next, or never did."""
        return not self.first <= self.next_offset <= self.end

    def nears_deletion(self, share: float, lag_min: int) -> bool:
        """Say whether records that are not read yet are soon deleted.

        The topic has begun to forget, and the cursor stands in the oldest `share` of what it holds.
        """
        margin = (self.end - self.first) * share
        forgets = self.first > 0 and self.lag >= lag_min
        return forgets and self.next_offset - self.first < margin


@dataclass(frozen=True, slots=True)
class EffectsStatus:
    """Effects of one kind and state."""

    kind: str
    state: EffectState
    count: int
    oldest_started_at: datetime
    oldest_due_at: datetime | None


@dataclass(slots=True)
class ServiceStatus:
    """What is known of one service; the rest is empty when its database does not answer."""

    service: str
    partitions: list[PartitionStatus] = field(default_factory=list)
    heads: dict[int, int] = field(default_factory=dict)
    log_digest: str = ""
    unpublished: int = 0
    oldest_unpublished_at: datetime | None = None
    effects: list[EffectsStatus] = field(default_factory=list)
    dead_letters: dict[str, int] = field(default_factory=dict)
    parked: list[Parking] = field(default_factory=list)

    @property
    def lag(self) -> int:
        """Records to be read in all partitions."""
        return sum(partition.lag for partition in self.partitions)


async def service_status(
    connection: asyncpg.Connection,
    service: str,
    bounds: Mapping[TopicPartition, Bounds],
) -> ServiceStatus:
    """Read how `service` stands; `bounds` are those of the partitions that it reads.

    Raises:
        Transient: Postgres does not answer.
    """
    with transient_when_unwell():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            shards = await connection.fetch(_SHARDS)
            cursors = await connection.fetch(cursors_table.ALL)
            effects = await connection.fetch(COUNTED)
            letters = await connection.fetch(letters_table.COUNTED)
            oldest = await connection.fetchval(_UNPUBLISHED)
            parked = await connection.fetch(PARKINGS)
    return ServiceStatus(
        service=service,
        partitions=_partitions(cursors, bounds),
        heads={row["shard"]: row["head_position"] for row in shards},
        log_digest=log_digest([row["head_hash"] for row in shards]),
        unpublished=sum(row["head_position"] - row["published_position"] for row in shards),
        oldest_unpublished_at=oldest,
        effects=[_effects(row) for row in effects],
        dead_letters={row["reason"]: row["letters"] for row in sorted(letters, key=_reason)},
        parked=[Parking(*row) for row in parked],
    )


def _reason(row: Any) -> str:  # noqa: ANN401 - an asyncpg record
    reason: str = row["reason"]
    return reason


def _effects(row: Any) -> EffectsStatus:  # noqa: ANN401 - an asyncpg record
    times = row["oldest_started_at"], row["oldest_due_at"]
    return EffectsStatus(row["kind"], EffectState(row["state"]), row["effects"], *times)


def log_digest(head_hashes: Sequence[bytes]) -> str:
    """Return one digest of a whole log: the SHA-256 of the hashes its shards end with."""
    return hashlib.sha256(b"".join(head_hashes)).hexdigest()


def _partitions(
    cursors: Sequence[Any], bounds: Mapping[TopicPartition, Bounds]
) -> list[PartitionStatus]:
    """Return the partitions in order; where no record was read yet, reading begins at the first."""
    read = {(row["topic"], row["partition"]): row["next_offset"] for row in cursors}
    return [
        PartitionStatus(*key, read.get(key, each.first), *each)
        for key, each in sorted(bounds.items())
    ]

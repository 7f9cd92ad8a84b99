"""The event log in Postgres: one locked cursor and shard row for each unit of work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from services.runtime.log.event_log import LeasedEffect, StoredEvent, TopicPartition, Unpublished
from services.runtime.log.postgres_errors import transient_when_unwell
from services.runtime.log.postgres_rows import (
    LEASE_DUE,
    SHARDS_WITH_NEWS,
    UNPUBLISHED,
    run_columns,
    stored_event,
    stored_lease,
)
from services.runtime.log.postgres_transaction import PostgresTransaction
from services.runtime.processor import RunKey


class PostgresEventLog:
    """Implements `event_log.EventLog` on a pool whose search_path begins with the service's schema."""

    def __init__(self, pool: asyncpg.Pool, *, lease_seconds: int = 60) -> None:
        """Use `pool`; effects are leased for `lease_seconds` at a time."""
        self._pool = pool
        self._lease_seconds = lease_seconds

    @asynccontextmanager
    async def transaction(
        self,
        *,
        partitions: Iterable[TopicPartition] = (),
        shards: Iterable[int] = (),
        sources: Iterable[tuple[str, int]] = (),
    ) -> AsyncIterator[PostgresTransaction]:
        """Lock cursors, then shards, each in sorted order, and commit on exit."""
        with transient_when_unwell():
            async with self._pool.acquire() as connection, connection.transaction():
                transaction = PostgresTransaction(connection, self._lease_seconds)
                await transaction.lock(partitions, shards, sources)
                yield transaction
                await transaction.write_marks()

    async def ensure_cursors(self, first_offsets: Mapping[TopicPartition, int]) -> None:
        """Create the cursors that do not exist yet, at the given offsets."""
        await self._execute(
            "INSERT INTO cursor (topic, partition, next_offset)"
            " SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) ON CONFLICT DO NOTHING",
            [topic for topic, _ in first_offsets],
            [partition for _, partition in first_offsets],
            list(first_offsets.values()),
        )

    async def cursors(self) -> dict[TopicPartition, int]:
        """Return all cursors, unlocked."""
        rows = await self._fetch("SELECT topic, partition, next_offset FROM cursor")
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def unpublished(
        self, source: str, shards: Collection[int], *, limit: int
    ) -> dict[int, Unpublished]:
        """Return, for each shard with news, the first events of `source` not yet published."""
        news = await self._fetch(SHARDS_WITH_NEWS, list(shards))
        if not news:
            return {}
        columns = [[row[name] for row in news] for name in range(3)]
        found: dict[int, list[StoredEvent]] = {row["shard"]: [] for row in news}
        for row in await self._fetch(UNPUBLISHED, *columns, source, limit):
            found[row["shard"]].append(stored_event(row))
        heads = {row["shard"]: row["head_position"] for row in news}
        return {
            shard: Unpublished(
                events, events[-1].position if len(events) == limit else heads[shard]
            )
            for shard, events in found.items()
        }

    async def publishing(self, shards: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return for each shard how far it is published, and where it ends."""
        rows = await self._fetch(
            "SELECT shard, published_position, head_position FROM shard"
            " WHERE shard = ANY($1::int[])",
            list(shards),
        )
        return {row["shard"]: (row["published_position"], row["head_position"]) for row in rows}

    async def mark_published(self, positions: Mapping[int, int]) -> None:
        """Record that everything up to each shard's position is on the topic; never moves back."""
        # Rows are locked in the order that transactions lock them in.
        await self._execute(
            "WITH moved AS (SELECT shard, position FROM shard"
            " JOIN unnest($1::int[], $2::bigint[]) AS published(shard, position) USING (shard)"
            " WHERE published_position < position ORDER BY shard FOR UPDATE OF shard)"
            " UPDATE shard SET published_position = moved.position"
            " FROM moved WHERE shard.shard = moved.shard",
            list(positions),
            list(positions.values()),
        )

    async def lease_due_effects(self, *, now: datetime, limit: int) -> list[LeasedEffect]:
        """Lease effects that are due and not leased by anyone alive."""
        rows = await self._fetch(LEASE_DUE, now, limit, self._lease_seconds)
        return [stored_lease(row) for row in rows]

    async def mark_effects(self, checkpoints: Mapping[RunKey, str]) -> set[RunKey]:
        """Commit checkpoints of running effects; return the runs that still hold their lease."""
        rows = await self._fetch(
            "UPDATE effect SET checkpoint = mark.checkpoint"
            " FROM unnest($1::int[], $2::text[], $3::int[], $4::text[])"
            " AS mark(shard, effect_id, attempt, checkpoint)"
            " WHERE effect.shard = mark.shard AND effect.effect_id = mark.effect_id"
            " AND effect.attempt = mark.attempt"
            " RETURNING effect.shard, effect.effect_id, effect.attempt",
            *run_columns(checkpoints),
            list(checkpoints.values()),
        )
        return {(row["shard"], row["effect_id"], row["attempt"]) for row in rows}

    async def extend_leases(self, runs: Collection[RunKey]) -> None:
        """Keep running effects from being leased by another worker."""
        if runs:
            await self._execute(
                "UPDATE effect SET lease_until = clock_timestamp() + make_interval(secs => $4)"
                " WHERE (shard, effect_id) IN (SELECT shard, effect_id FROM effect JOIN"
                " unnest($1::int[], $2::text[], $3::int[]) AS running(shard, effect_id, attempt)"
                " USING (shard, effect_id, attempt) FOR UPDATE OF effect SKIP LOCKED)",
                *run_columns(runs),
                self._lease_seconds,
            )

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        with transient_when_unwell():
            rows: list[Any] = await self._pool.fetch(query, *arguments)
        return rows

    async def _execute(self, query: str, *arguments: object) -> None:
        with transient_when_unwell():
            await self._pool.execute(query, *arguments)

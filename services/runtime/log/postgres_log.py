"""The event log in Postgres: one locked cursor and shard row for each unit of work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from weakref import WeakSet

import asyncpg

from services.runtime.clock.database_clock import TOLERANCE_SECONDS, DatabaseClock
from services.runtime.effect import RunKey
from services.runtime.errors import Transient
from services.runtime.log.event_log import (
    LEASE_SECONDS_MAX,
    NOTHING_ACKNOWLEDGED,
    LeasedEffect,
    LogEnd,
    Parking,
    TopicPartition,
    Unpublished,
)
from services.runtime.log.postgres_rows import (
    HASHES_AT,
    MARK_PUBLISHED,
    SERVER,
    UNPUBLISHED,
    end_columns,
    stored_event,
)
from services.runtime.log.postgres_transaction import PostgresTransaction
from services.runtime.log.tables import cursors, parked_shards
from services.runtime.log.tables.effects import (
    EXTEND,
    LEASE_DUE,
    MARK,
    SET_ASIDE,
    run_columns,
    stored_lease,
)
from services.runtime.postgres.errors import transient_when_unwell


class PostgresEventLog:
    """Implements `event_log.EventLog` on a pool whose search_path begins with the service's schema."""

    def __init__(
        self, pool: asyncpg.Pool, *, lease_seconds: int = 60, clock: DatabaseClock | None = None
    ) -> None:
        """Use `pool`; effects are leased for `lease_seconds` at a time. Locking reads `clock`."""
        self._pool = pool
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._trusted: str | None = None
        self._of_trusted: WeakSet[Any] = WeakSet()

    @asynccontextmanager
    async def transaction(
        self,
        *,
        partitions: Iterable[TopicPartition] = (),
        shards: Iterable[int] = (),
        sources: Iterable[tuple[str, int]] = (),
        runs: Iterable[RunKey] = (),
    ) -> AsyncIterator[PostgresTransaction]:
        """Lock cursors, shards, then effects, each in sorted order, and commit on exit."""
        with transient_when_unwell():
            async with self._connection() as connection, connection.transaction():
                transaction = PostgresTransaction(connection, self._lease_seconds, self._clock)
                await transaction.lock(partitions, shards, sources, runs)
                yield transaction
                await transaction.write_staged()

    async def ensure_cursors(self, first_offsets: Mapping[TopicPartition, int]) -> None:
        """Create the cursors that do not exist yet, at the given offsets."""
        await self._execute(
            cursors.BEGIN,
            [topic for topic, _ in first_offsets],
            [partition for _, partition in first_offsets],
            list(first_offsets.values()),
        )

    async def cursors(self) -> dict[TopicPartition, int]:
        rows = await self._fetch(cursors.ALL)
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def hashes_at(self, positions: Mapping[int, int]) -> dict[int, bytes]:
        """Return, by shard, the hash of the event at a position; absent where there is none."""
        with transient_when_unwell():
            rows = await self._pool.fetch(HASHES_AT, list(positions), list(positions.values()))
        return {row["shard"]: row["hash"] for row in rows}

    async def ends(self) -> dict[int, LogEnd]:
        """Return what each shard ends with."""
        with transient_when_unwell():
            rows = await self._pool.fetch("SELECT shard, head_position, head_hash FROM shard")
        return {row["shard"]: LogEnd(row["head_position"], row["head_hash"]) for row in rows}

    async def archived(self) -> dict[int, int]:
        """Return by shard up to which position events are in files, where any are."""
        with transient_when_unwell():
            rows = await self._pool.fetch(
                "SELECT shard, archived_position FROM shard WHERE archived_position > 0"
            )
        return {row["shard"]: row["archived_position"] for row in rows}

    async def server(self) -> str:
        """Return what tells a server and its timeline from others; empty when it does not say."""
        with transient_when_unwell():
            async with self._pool.acquire() as connection:
                return await _server(connection)

    def trust(self, server: str) -> None:
        """Work on this server and timeline; on any other one, nothing before that is trusted too."""
        if server != self._trusted:
            self._trusted = server
            self._of_trusted.clear()

    async def parkings(self) -> list[Parking]:
        """Return why which shards wait for a person, in the order of the shards."""
        return [Parking(*row) for row in await self._fetch(parked_shards.PARKINGS)]

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
        found: dict[int, Unpublished] = {}
        rows = await self._fetch(
            UNPUBLISHED, list(shards), *end_columns(acknowledged), source, limit
        )
        for shard, position, hash_, held, *row in rows:
            news = found.setdefault(shard, Unpublished([], LogEnd(position, hash_), lost=not held))
            if row[0] is not None:
                news.events.append(stored_event(row))
        return {shard: _up_to(news, limit) for shard, news in found.items()}

    async def publishing(self, shards: Collection[int]) -> dict[int, tuple[int, int]]:
        """Return for each shard how far it is published, and where it ends."""
        rows = await self._fetch(
            "SELECT shard, published_position, head_position FROM shard"
            " WHERE shard = ANY($1::int[])",
            list(shards),
        )
        return {row["shard"]: (row["published_position"], row["head_position"]) for row in rows}

    async def mark_published(self, ends: Mapping[int, LogEnd]) -> None:
        """Record that everything up to each shard's end is on the topic; never moves back."""
        if ends:
            await self._execute(MARK_PUBLISHED, *end_columns(ends))

    async def lease_due_effects(self, *, now: datetime, limit: int) -> list[LeasedEffect]:
        """Lease effects that are due and not leased by anyone alive."""
        longest = LEASE_SECONDS_MAX + TOLERANCE_SECONDS
        rows = await self._fetch(LEASE_DUE, now, limit, self._lease_seconds, longest)
        return [stored_lease(row) for row in rows]

    async def mark_effects(self, checkpoints: Mapping[RunKey, str]) -> set[RunKey]:
        """Commit checkpoints of running effects; return the runs that still hold their lease."""
        rows = await self._fetch(MARK, *run_columns(checkpoints), list(checkpoints.values()))
        return {(row["shard"], row["effect_id"], row["attempt"]) for row in rows}

    async def set_effect_aside(self, run: RunKey, *, due_at: datetime, trouble: str) -> None:
        """Give up the lease of a run whose result cannot be recorded; it is due again at `due_at`."""
        await self._execute(SET_ASIDE, *run, due_at, trouble[:500])

    async def extend_leases(self, runs: Collection[RunKey]) -> None:
        """Keep running effects from being leased by another worker."""
        if runs:
            await self._execute(EXTEND, *run_columns(runs), self._lease_seconds)

    async def _fetch(self, query: str, *arguments: object) -> list[Any]:
        with transient_when_unwell():
            async with self._connection() as connection:
                rows: list[Any] = await connection.fetch(query, *arguments)
        return rows

    async def _execute(self, query: str, *arguments: object) -> None:
        with transient_when_unwell():
            async with self._connection() as connection:
                await connection.execute(query, *arguments)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Yield a connection to the server that is trusted: a new one may lead to another."""
        async with self._pool.acquire() as connection:
            proxy: Any = connection  # another one each time
            inner = proxy._con  # noqa: SLF001 - what stays is the connection inside
            if self._trusted is not None and inner not in self._of_trusted:
                if (server := await _server(connection)) != self._trusted:
                    message = f"the database is {server} now, and is compared before it is used"
                    raise Transient(message)
                self._of_trusted.add(inner)
            yield connection


def _up_to(news: Unpublished, limit: int) -> Unpublished:
    """Return what was read, up to its last event where there may be more behind it."""
    if len(news.events) < limit:
        return news
    return replace(news, through=LogEnd(news.events[-1].position, news.events[-1].hash))


async def _server(connection: Any) -> str:  # noqa: ANN401 - pool proxy
    try:
        return str(await connection.fetchval(SERVER))
    except asyncpg.InsufficientPrivilegeError:
        return ""

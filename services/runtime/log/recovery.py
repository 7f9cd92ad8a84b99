"""Puts a service's place in a topic, or on its own topic, somewhere else: for `perennial recover`.

Nothing here can do anything twice: consumers know what they took by its sequence or its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from services.runtime.errors import ConfigurationError
from services.runtime.kafka.topic_identity import TopicIdentity


@dataclass(frozen=True, slots=True)
class Republishing:
    """What one shard publishes again: own events between two positions of its log."""

    shard: int
    after_position: int
    head_position: int
    events: int


@dataclass(frozen=True, slots=True)
class Move:
    """A cursor that goes elsewhere; `was` is None where there was none."""

    partition: int
    was: int | None
    becomes: int


async def refuse_running(connection: asyncpg.Connection, service: str) -> None:
    """See that no process of `service` is connected to this database: it would go on where it was.

    Raises:
        ConfigurationError: there is one.
    """
    running = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1",
        f"perennial-{service}",
    )
    if running:
        message = (
            f"{service} is running ({running} connections to its database): stop every process of "
            "it, then try again"
        )
        raise ConfigurationError(message)


async def plan_republishing(
    connection: asyncpg.Connection, source: str, from_position: int
) -> list[Republishing]:
    """Return what would be published again, from `from_position` (1 is the first) of each shard.

    Raises:
        ConfigurationError: some of it is archived: what follows it would be a gap to consumers.
    """
    archived = await connection.fetchval(
        "SELECT max(archived_position) FROM shard WHERE archived_position >= $1", from_position
    )
    if archived is not None:
        message = (
            f"positions up to {archived} are archived and cannot be published again: name a later "
            "--from-position"
        )
        raise ConfigurationError(message)
    rows = await connection.fetch(
        "SELECT shard, after, head_position, (SELECT count(*) FROM event"
        "  WHERE event.shard = at.shard AND position > after AND source = $1) AS events"
        " FROM (SELECT shard, head_position, least(published_position, $2) AS after"
        "  FROM shard) AS at WHERE after < head_position ORDER BY shard",
        source,
        from_position - 1,
    )
    return [Republishing(*row) for row in rows]


async def republish(connection: asyncpg.Connection, service: str, plan: list[Republishing]) -> None:
    """Have the relay of a stopped service publish again when it starts.

    Raises:
        ConfigurationError: a process of the service is running.
    """
    async with connection.transaction():
        await connection.execute("LOCK TABLE shard IN EXCLUSIVE MODE")
        await refuse_running(connection, service)
        await connection.execute(
            "UPDATE shard SET published_position = least(published_position, again.after)"
            " FROM unnest($1::int[], $2::bigint[]) AS again(shard, after)"
            " WHERE shard.shard = again.shard",
            [each.shard for each in plan],
            [each.after_position for each in plan],
        )


async def plan_moves(
    connection: asyncpg.Connection, topic: str, offsets: Mapping[int, int]
) -> list[Move]:
    """Return how the cursors of `topic` would move to `offsets`, by partition."""
    rows = await connection.fetch(
        "SELECT partition, next_offset FROM cursor WHERE topic = $1", topic
    )
    known = {row["partition"]: row["next_offset"] for row in rows}
    return [
        Move(partition, known.get(partition), offset)
        for partition, offset in sorted(offsets.items())
    ]


async def move_cursors(
    connection: asyncpg.Connection,
    service: str,
    topic: str,
    moves: list[Move],
    identity: TopicIdentity,
) -> None:
    """Move the cursors of a stopped service, and have them count in the topic that is there now.

    Raises:
        ConfigurationError: a process of the service is running.
    """
    async with connection.transaction():
        await connection.execute("LOCK TABLE cursor IN EXCLUSIVE MODE")
        await refuse_running(connection, service)
        await connection.execute(
            "INSERT INTO cursor (topic, partition, next_offset, cluster_id, topic_id)"
            " SELECT $1, partition, next_offset, $4, $5"
            " FROM unnest($2::int[], $3::bigint[]) AS moved(partition, next_offset)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset,"
            " cluster_id = excluded.cluster_id, topic_id = excluded.topic_id",
            topic,
            [move.partition for move in moves],
            [move.becomes for move in moves],
            identity.cluster_id,
            identity.topic_id,
        )

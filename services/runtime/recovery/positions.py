"""Puts a service's place in a topic, or on its own topic, somewhere else: for `perennial recover`.

Nothing here can do anything twice: consumers know what they took by its sequence or its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from services.runtime.errors import ConfigurationError
from services.runtime.log.tables import cursors

if TYPE_CHECKING:
    from services.runtime.kafka.topics.topic_identity import TopicIdentity

_OWN_EVENTS: Final = "SELECT count(*) FROM event WHERE shard = $1 AND position > $2 AND source = $3"


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
    connection: asyncpg.Connection, source: str, first: Mapping[int | None, int]
) -> list[Republishing]:
    """Return what would be published again, from the `first` position of each shard; 1 is its first.

    A shard that is not named begins where None does; without None it is left alone.

    Raises:
        ConfigurationError: a shard has no such position, or some of it is archived: what follows it
            would be a gap to consumers.
    """
    rows = await connection.fetch(
        "SELECT shard, head_position, published_position, archived_position FROM shard"
        " ORDER BY shard"
    )
    _check_named(first, {row["shard"]: row["head_position"] for row in rows})
    chosen = [(row, at) for row in rows if (at := first.get(row["shard"], first.get(None)))]
    archived = [row for row, at in chosen if at <= row["archived_position"]]
    if archived:
        last = max(row["archived_position"] for row in archived)
        begin = (f"--from-position {row[0]}:{row['archived_position'] + 1}" for row in archived)
        message = (
            f"positions up to {last} are archived and cannot be published again: begin behind them, "
            f"with {' '.join(begin)}"
        )
        raise ConfigurationError(message)
    plan = []
    for row, at in chosen:
        after, head = min(row["published_position"], at - 1), row["head_position"]
        if after < head:
            events = await connection.fetchval(_OWN_EVENTS, row["shard"], after, source)
            plan.append(Republishing(row["shard"], after, head, events))
    return plan


def _check_named(first: Mapping[int | None, int], heads: Mapping[int, int]) -> None:
    for shard, position in first.items():
        if shard is None:
            continue
        if shard not in heads:
            message = f"there is no shard {shard}: name 0 to {max(heads)}"
            raise ConfigurationError(message)
        if position > heads[shard]:
            message = f"shard {shard} has positions 1 to {heads[shard]}: name one of them"
            raise ConfigurationError(message)


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
    rows = await connection.fetch(cursors.OF_TOPIC, topic)
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
        await connection.execute(cursors.LOCK)
        await refuse_running(connection, service)
        await connection.execute(
            cursors.MOVE,
            topic,
            [move.partition for move in moves],
            [move.becomes for move in moves],
            identity.cluster_id,
            identity.topic_id,
        )

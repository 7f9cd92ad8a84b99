"""Where shards end, read under their locks. The database moves that, with what is appended."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from services.runtime.clock import DatabaseClock
from services.runtime.errors import Halt
from services.runtime.log.event_log import ShardHead

_LOCK: Final = (
    "SELECT shard, head_position, head_hash, head_sequence, parked, archived_position,"
    " clock_timestamp() AS read_at,"
    " CASE WHEN head_recorded_position = head_position THEN head_recorded_at END AS recorded_at"
    " FROM shard WHERE shard = ANY($1::int[]) ORDER BY shard FOR UPDATE"
)
_RECORDED_AT: Final = (
    "SELECT shard, recorded_at FROM event WHERE (shard, position) IN"
    " (SELECT * FROM unnest($1::int[], $2::bigint[]))"
)


async def lock_heads(
    connection: Any,  # noqa: ANN401 - pool proxy
    shards: Collection[int],
    clock: DatabaseClock | None = None,
) -> dict[int, ShardHead]:
    """Lock the rows of shards in sorted order, and return where they end; `clock` takes a reading.

    Raises:
        Halt: one of them does not exist.
    """
    asked_at = clock.running() if clock else 0.0
    rows = await connection.fetch(_LOCK, sorted(shards))
    if clock and rows:
        clock.read(rows[-1]["read_at"], asked_at)
    if missing := set(shards) - {row["shard"] for row in rows}:
        message = f"shards {sorted(missing)} do not exist: run `perennial setup`"
        raise Halt(message)
    heads = {
        row["shard"]: ShardHead(
            row["head_position"],
            row["head_hash"],
            row["head_sequence"],
            row["parked"],
            archived=row["archived_position"],
        )
        for row in rows
    }
    recorded = {row["shard"]: row["recorded_at"] for row in rows}
    # A process of an older version moves the position alone: the log knows when that was recorded.
    unsaid = [shard for shard, head in heads.items() if head.position and not recorded[shard]]
    if unsaid:
        positions = [heads[shard].position for shard in unsaid]
        recorded |= await connection.fetch(_RECORDED_AT, unsaid, positions)
    for shard, moment in recorded.items():
        if moment is not None:
            heads[shard].recorded_at = moment
    return heads

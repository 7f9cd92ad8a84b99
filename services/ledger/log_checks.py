"""Checks that Postgres itself can answer: streams, sequences, cursors, dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.envelope import Source
from schemas.topics import ORDERS
from services.ledger.checks import RESTORE, Check

if TYPE_CHECKING:
    import asyncpg

_WALLET_STREAMS: Final = """
SELECT stream_id, count(*) AS events, max(stream_version) AS newest FROM event
WHERE stream_id LIKE 'wallet/%' GROUP BY stream_id
HAVING min(stream_version) <> 1 OR max(stream_version) <> count(*)
ORDER BY stream_id LIMIT 1
"""
_FILED_STREAMS: Final = """
SELECT max(stream_id) FILTER (WHERE NOT moved) AS stream_id, count(*) AS events,
    max(stream_version) FILTER (WHERE NOT moved) AS newest
FROM (
    SELECT stream_id, stream_version, stream_id LIKE 'wallet/%' AS moved,
        CASE WHEN stream_id LIKE 'wallet/%' THEN correlation_id
            ELSE split_part(stream_id, '/', 2) END AS order_id
    FROM event WHERE source = $1
) AS told
GROUP BY order_id HAVING max(stream_version) FILTER (WHERE NOT moved) > count(*)
ORDER BY stream_id LIMIT 1
"""
_MARKS: Final = """
WITH mark AS (
    SELECT source, shard, last_sequence FROM source_sequence
    UNION ALL SELECT $1, shard, head_sequence FROM shard WHERE head_sequence > 0
), held AS (
    SELECT source, shard, count(*) AS events, count(DISTINCT sequence) AS different,
        min(sequence) AS first, max(sequence) AS newest
    FROM event GROUP BY source, shard
)
SELECT source, shard, coalesce(events, 0) AS events, coalesce(different, 0) AS different,
    coalesce(first, 1) AS first, coalesce(newest, 0) AS newest,
    coalesce(last_sequence, 0) AS last_sequence
FROM mark FULL JOIN held USING (source, shard) ORDER BY source, shard
"""
_FIRST_GAP: Final = """
SELECT number FROM (
    SELECT sequence, row_number() OVER (ORDER BY sequence) AS number FROM event
    WHERE source = $1 AND shard = $2
) AS numbered WHERE sequence <> number ORDER BY number LIMIT 1
"""
_CURSORS: Final = """
SELECT held.shard, held.events, next_offset FROM (
    SELECT shard, count(*) AS events FROM event WHERE source = $1 GROUP BY shard
) AS held LEFT JOIN cursor ON cursor.partition = held.shard AND cursor.topic = $2
ORDER BY held.shard
"""


async def check_streams(connection: asyncpg.Connection) -> Check:
    """Look for versions missing from a stream.

    A wallet's stream is numbered here. An order's stream keeps the numbers that orders gave; those
    of its events that concern the wallet are in the wallet's stream.
    """
    streams = await connection.fetchval("SELECT count(DISTINCT stream_id) FROM event")
    row = await connection.fetchrow(_WALLET_STREAMS) or await connection.fetchrow(
        _FILED_STREAMS, Source.ORDERS
    )
    problem = None
    if row is not None:
        problem = (
            f"{row['stream_id']} goes up to version {row['newest']} and the log holds "
            f"{row['events']} of its events"
        )
    return Check("dense stream versions", f"{streams} streams", problem, RESTORE)


async def check_sequences(connection: asyncpg.Connection) -> Check:
    """Compare what each source numbered 1..n with what is held, and n with the high-water mark."""
    rows = await connection.fetch(_MARKS, Source.LEDGER)
    problem = None
    for row in rows:
        counts = (row["events"], row["different"], row["newest"], row["last_sequence"])
        if problem is None and (row["first"] != 1 or len(set(counts)) > 1):
            gap = await connection.fetchval(_FIRST_GAP, row["source"], row["shard"])
            where = f"sequence {gap or row['events'] + 1}" if row["events"] else "everything"
            problem = (
                f"{where} of {row['source']} in shard {row['shard']} is missing: {row['events']} "
                f"events up to {row['newest']}, high-water mark {row['last_sequence']}"
            )
    compared = f"{sum(row['events'] for row in rows)} sequences of {len(rows)} sources and shards"
    return Check("complete sequences", compared, problem, RESTORE)


async def check_cursors(connection: asyncpg.Connection) -> Check:
    """Look for events that the cursors say have not been read yet."""
    rows = await connection.fetch(_CURSORS, Source.ORDERS, ORDERS.name)
    problem = None
    for row in rows:
        if problem is None and (row["next_offset"] or 0) < row["events"]:
            problem = (
                f"shard {row['shard']} holds {row['events']} events of orders and its cursor "
                f"stands at offset {row['next_offset']}"
            )
    compared = f"{len(rows)} cursors of {ORDERS.name}"
    return Check("cursors", compared, problem, RESTORE)


async def check_dead_letters(connection: asyncpg.Connection) -> Check:
    """Look for records that nobody has decided about: the books may lack them."""
    kept = await connection.fetchval("SELECT count(*) FROM dead_letter")
    row = await connection.fetchrow(
        "SELECT dead_letter_id, reason FROM dead_letter WHERE closed_at IS NULL"
        " ORDER BY dead_letter_id LIMIT 1"
    )
    problem = f"dead letter {row['dead_letter_id']} is open ({row['reason']})" if row else None
    advice = "see `perennial dlq list --service ledger`, then redrive it or discard it"
    return Check("no open dead letter", f"{kept} dead letters", problem, advice)

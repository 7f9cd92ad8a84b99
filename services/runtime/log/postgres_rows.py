"""Rows of the event log's tables: column lists, statements and their conversions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.runtime.log.event_log import (
    REMAINS,
    LogEnd,
    StoredEvent,
)

EVENT_COLUMNS: Final = ", ".join(StoredEvent._fields)

LOAD_STREAMS: Final = (
    # One index scan for each stream and table: OFFSET keeps the planner from one scan of the whole
    # table, which it prefers for long lists until statistics exist.
    f"SELECT {EVENT_COLUMNS} FROM (SELECT own.*, false AS remains"  # noqa: S608 - constants
    " FROM unnest($1::text[]) AS wanted(stream_id) CROSS JOIN LATERAL"
    f" (SELECT {EVENT_COLUMNS} FROM event WHERE event.stream_id = wanted.stream_id OFFSET 0) AS own"
    # What is left of a stream is a row behind those of its events that are still there. One
    # statement: what leaves meanwhile is in one of the two.
    " UNION ALL SELECT left_.*, true FROM unnest($1::text[]) AS wanted(stream_id)"
    " CROSS JOIN LATERAL (SELECT shard, last_position, stream_id, stream_version, NULL::uuid, '',"
    f" '{REMAINS}', 0::bigint, account_id, '', NULL::uuid, NULL, recorded_at, recorded_at, remains,"
    " NULL::bytea FROM archived_stream AS known WHERE known.stream_id = wanted.stream_id"
    " OFFSET 0) AS left_) AS found ORDER BY stream_id, stream_version, remains"
)
LOAD_SHORT_STREAMS: Final = f"{LOAD_STREAMS} LIMIT $2"


_OWN_COLUMNS: Final = ", ".join(f"own.{name}" for name in StoredEvent._fields)

_TOLD: Final = (
    # An end is held where the log has that very event. Of one that left for a file only the last
    # hash is known; what lies before it was marked before it left, and nothing follows from it.
    "told AS MATERIALIZED (SELECT told.shard, told.position, told.position <= head_position AND"
    " (told.position = 0 OR EXISTS (SELECT FROM event WHERE event.shard = told.shard"
    " AND event.position = told.position AND event.hash = told.hash)"
    " OR told.position <= archived_position AND NOT EXISTS (SELECT FROM archived_range AS filed"
    " WHERE filed.shard = told.shard AND filed.last_position = told.position"
    " AND filed.last_hash <> told.hash)) AS held"
    " FROM unnest({arguments}) AS told(shard, position, hash) JOIN shard USING (shard))"
)
UNPUBLISHED: Final = (
    # What is acknowledged is marked on the way, but for shards that are just written to: they are
    # named again. One snapshot: all events up to the head that is read are there.
    f"WITH {_TOLD.format(arguments='$2::int[], $3::bigint[], $4::bytea[]')},"  # noqa: S608 - constants
    " free AS (SELECT shard, position FROM shard JOIN told USING (shard)"
    " WHERE held AND published_position < position FOR UPDATE OF shard SKIP LOCKED),"
    " marked AS (UPDATE shard SET published_position = free.position"
    " FROM free WHERE shard.shard = free.shard)"
    f" SELECT news.shard, news.head_position, news.head_hash, news.held, {_OWN_COLUMNS}"
    " FROM (SELECT shard, head_position, head_hash, coalesce(held, true) AS held,"
    " greatest(published_position, told.position) AS published"
    " FROM shard LEFT JOIN told USING (shard) WHERE shard = ANY($1::int[])) AS news"
    " LEFT JOIN LATERAL (SELECT * FROM event WHERE news.held AND event.shard = news.shard"
    " AND event.position > news.published AND event.position <= news.head_position"
    " AND event.source = $5 ORDER BY event.position LIMIT $6) AS own ON true"
    " WHERE news.published < news.head_position OR NOT news.held"
    " ORDER BY news.shard, own.position"
)
MARK_PUBLISHED: Final = (
    # Rows are locked in the order that transactions lock them in.
    f"WITH {_TOLD.format(arguments='$1::int[], $2::bigint[], $3::bytea[]')},"  # noqa: S608 - constants
    " moved AS (SELECT shard, position FROM shard JOIN told USING (shard)"
    " WHERE held AND published_position < position ORDER BY shard FOR UPDATE OF shard)"
    " UPDATE shard SET published_position = moved.position"
    " FROM moved WHERE shard.shard = moved.shard"
)


HASHES_AT: Final = (
    "SELECT shard, hash FROM event JOIN unnest($1::int[], $2::bigint[]) AS at(shard, position)"
    " USING (shard, position)"
)
SERVER: Final = (
    "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || CASE"
    # Not the timeline of the last checkpoint: after a promotion, that may be minutes old.
    " WHEN pg_is_in_recovery() THEN 'replica'"
    " ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END"
)

LOAD_TAKEN: Final = (
    "SELECT wanted.source, wanted.shard, wanted.sequence,"
    " substring(batch.event_ids FROM ((wanted.sequence - first_sequence) * 16 + 1)::int FOR 16)"
    " FROM unnest($1::text[], $2::int[], $3::bigint[]) AS wanted(source, shard, sequence)"
    " CROSS JOIN LATERAL (SELECT first_sequence, event_ids FROM taken_event"
    " WHERE source = wanted.source AND shard = wanted.shard AND last_sequence >= wanted.sequence"
    " ORDER BY last_sequence LIMIT 1) AS batch WHERE first_sequence <= wanted.sequence"
)


def stored_event(row: Any) -> StoredEvent:  # noqa: ANN401 - an asyncpg record
    """Read a row of `EVENT_COLUMNS`."""
    return StoredEvent._make(row)


def end_columns(ends: Mapping[int, LogEnd]) -> tuple[list[int], list[int], list[bytes]]:
    """Return the ends of shards as the three arrays that statements unnest."""
    return list(ends), [end.position for end in ends.values()], [end.hash for end in ends.values()]

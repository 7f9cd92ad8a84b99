"""Rows of the event log's tables: column lists, statements and their conversions."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from services.runtime.effect import RunKey, Start
from services.runtime.log.event_log import (
    REMAINS,
    DeadLetter,
    EffectOrigin,
    LeasedEffect,
    LogEnd,
    StoredEvent,
)
from services.runtime.log.leasing import leased_effect

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

LEASED: Final = (
    "effect.shard, effect.effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,"
    " traceparent, payload, checkpoint, attempt"
)

LEASE_DUE: Final = (
    "WITH due AS (SELECT shard, effect_id, interrupted FROM effect WHERE due_at <= $1"  # noqa: S608
    " AND (lease_until IS NULL OR lease_until < clock_timestamp()"
    " OR lease_until > clock_timestamp() + make_interval(secs => $4))"
    " AND shard NOT IN (SELECT shard.shard FROM shard WHERE parked)"
    " ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)"
    " UPDATE effect SET attempt = attempt + 1, interrupted = true, hold_key = NULL,"
    " lease_until = clock_timestamp() + make_interval(secs => $3)"
    " FROM due WHERE effect.shard = due.shard AND effect.effect_id = due.effect_id"
    f" RETURNING {LEASED}, due.interrupted AS was_interrupted"
)

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

INSERT_DEAD_LETTER: Final = (
    "INSERT INTO dead_letter (topic, partition, record_offset, record_key, record_value,"
    " record_headers, reason, detail, attempts, dead_lettered_at, source, account_id, parked_shard,"
    " record_bytes, value_sha256, topic_id)"
    " VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
    " coalesce((SELECT topic_id FROM cursor WHERE cursor.topic = $1 AND cursor.partition = $2), ''))"
    " ON CONFLICT DO NOTHING"
)

COUNT_OVERFLOW: Final = (
    "INSERT INTO dead_letter_overflow AS kept (topic, source, reason, letters, newest_at, partition,"
    " record_offset, day) SELECT *, (newest_at AT TIME ZONE 'UTC')::date FROM unnest($1::text[],"
    " $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::int[], $7::bigint[]) AS"
    " new(topic, source, reason, letters, newest_at, partition, record_offset)"
    " ON CONFLICT (topic, source, reason, day) DO UPDATE SET letters = kept.letters +"
    " excluded.letters, newest_at = excluded.newest_at, partition = excluded.partition,"
    " record_offset = excluded.record_offset"
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

PARKING_COLUMNS: Final = (
    "shard, reason, detail, topic, partition, record_offset, event_id, event_type, source, sequence"
)
PARKINGS: Final = (
    f"SELECT {PARKING_COLUMNS} FROM parked_shard WHERE resumed_at IS NULL ORDER BY shard"  # noqa: S608
)
PARK: Final = (
    f"INSERT INTO parked_shard ({PARKING_COLUMNS})"  # noqa: S608
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    " ON CONFLICT (shard) WHERE resumed_at IS NULL DO UPDATE SET reason = excluded.reason,"
    " detail = excluded.detail, topic = excluded.topic, partition = excluded.partition,"
    " record_offset = excluded.record_offset, event_id = excluded.event_id,"
    " event_type = excluded.event_type, source = excluded.source, sequence = excluded.sequence"
)
UNPARK: Final = (
    "UPDATE parked_shard SET resumed_at = clock_timestamp(), resume_answer = $2"
    " WHERE shard = $1 AND resumed_at IS NULL"
)


def stored_event(row: Any) -> StoredEvent:  # noqa: ANN401 - an asyncpg record
    """Read a row of `EVENT_COLUMNS`."""
    return StoredEvent._make(row)


def effect_row(origin: EffectOrigin, start: Start, now: datetime) -> tuple[object, ...]:
    """Return a row of what `record_turn` begins; an effect due at once is leased to its writer."""
    due_at = start.due_at if start.due_at or start.hold_key else now
    return (
        origin.shard,
        start.effect_id,
        start.kind,
        origin.account_id,
        origin.stream_id,
        origin.cause_event_id,
        origin.correlation_id,
        origin.traceparent,
        json.dumps(start.payload),
        start.hold_key,
        due_at,
        start.hold_key is None and due_at is not None and due_at <= now,
    )


def dead_letter_row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the parameters of `INSERT_DEAD_LETTER`; header values become base64."""
    headers = [
        # jsonb takes no NUL.
        [name.replace("\0", "\\x00"), None if value is None else b64encode(value).decode()]
        for name, value in letter.headers
    ]
    return (
        letter.topic,
        letter.partition,
        letter.record_offset,
        letter.key,
        letter.value,
        json.dumps(headers),
        letter.reason,
        letter.detail[:500],
        letter.attempts,
        letter.dead_lettered_at,
        letter.source,
        letter.account_id,
        letter.parked_shard,
        *(letter.whole or (None, None)),
    )


def stored_lease(row: Any) -> LeasedEffect:  # noqa: ANN401 - an asyncpg record
    """Read an effect row that this process has just leased."""
    origin = EffectOrigin(
        row["shard"],
        row["account_id"],
        row["stream_id"],
        row["cause_event_id"],
        row["correlation_id"],
        row["traceparent"],
    )
    return leased_effect(
        origin,
        Start(row["effect_id"], row["kind"], json.loads(row["payload"])),
        attempt=row["attempt"],
        recovered=row["was_interrupted"],
        checkpoint=row["checkpoint"],
    )


def end_columns(ends: Mapping[int, LogEnd]) -> tuple[list[int], list[int], list[bytes]]:
    """Return the ends of shards as the three arrays that statements unnest."""
    return list(ends), [end.position for end in ends.values()], [end.hash for end in ends.values()]


def run_columns(runs: Iterable[RunKey]) -> tuple[list[int], list[str], list[int]]:
    """Return run keys as the three arrays that statements unnest."""
    keys = list(runs)
    return [run[0] for run in keys], [run[1] for run in keys], [run[2] for run in keys]

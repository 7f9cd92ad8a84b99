"""The table `parked_shard`: which shards wait for a person, and why."""

from __future__ import annotations

from typing import Final

PARKING_COLUMNS: Final = (
    "shard, reason, detail, topic, partition, record_offset, event_id, event_type, source, sequence"
)
COLUMNS: Final = (
    f"parking_id, {PARKING_COLUMNS}, parked_at, resume_asked_at, resume_reason, set_aside,"
    " resume_answer, resumed_at"
)
PARKINGS: Final = (
    f"SELECT {PARKING_COLUMNS} FROM parked_shard WHERE resumed_at IS NULL ORDER BY shard"  # noqa: S608
)
SHOWN: Final = (
    "SELECT shard, reason, coalesce(event_type, '') AS event_type FROM parked_shard"
    " WHERE resumed_at IS NULL"
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
ASK: Final = (
    "UPDATE parked_shard SET resume_asked_at = clock_timestamp(), resume_reason = $2,"  # noqa: S608
    " set_aside = $3, resume_answer = NULL"
    " WHERE resumed_at IS NULL AND ($1::int[] IS NULL OR shard = ANY($1::int[]))"
    f" RETURNING {COLUMNS}"
)
REFUSE: Final = (
    "UPDATE parked_shard SET resume_asked_at = NULL, resume_answer = $2"
    " WHERE parking_id = $1 AND resumed_at IS NULL"
)


def listed(condition: str) -> str:
    """Return the query for the rows of a condition, the longest parked first."""
    return f"SELECT {COLUMNS} FROM parked_shard {condition} ORDER BY parking_id"  # noqa: S608

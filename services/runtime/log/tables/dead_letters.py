"""The tables `dead_letter` and `dead_letter_overflow`: records that could not be handled.

What is kept of each, and how many more there are on their topic alone.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Final

from services.runtime.log.event_log import DeadLetter
from services.runtime.log.tables.cursors import TOPIC_ID

COLUMNS: Final = (
    "dead_letter_id, topic, partition, record_offset, record_key, record_value, record_headers,"
    " reason, detail, attempts, dead_lettered_at, published_at, redrive_asked_at, closed_at,"
    " closed_as, closed_note, source, account_id, record_bytes, value_sha256"
)
_MATCHES: Final = (
    "($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR source = $2)"
    " AND ($3::text IS NULL OR topic = $3) AND topic <> ALL($5::text[])"
)

# -- what an intake keeps ------------------------------------------------------------------------------

INSERT: Final = (
    "INSERT INTO dead_letter (topic, partition, record_offset, record_key, record_value,"  # noqa: S608
    " record_headers, reason, detail, attempts, dead_lettered_at, source, account_id, parked_shard,"
    " record_bytes, value_sha256, topic_id)"
    " VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
    f" coalesce(({TOPIC_ID}), '')) ON CONFLICT DO NOTHING"
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
COUNT_OPEN: Final = (
    "SELECT count(*) FROM dead_letter WHERE closed_at IS NULL"
    " AND ($1::text[] IS NULL OR topic = ANY($1))"
)
OPEN_BY_ACCOUNT: Final = (
    "SELECT source, account_id, count(*) FROM dead_letter"
    " WHERE closed_at IS NULL AND parked_shard IS NULL GROUP BY source, account_id"
)

# -- what a person and the service do with them --------------------------------------------------------

MARK_PUBLISHED: Final = (
    "UPDATE dead_letter SET published_at = clock_timestamp()"
    " FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[])"
    " AS sent(dead_letter_id, topic, partition, record_offset)"
    " WHERE dead_letter.dead_letter_id = sent.dead_letter_id"
    " AND dead_letter.topic = sent.topic AND dead_letter.partition = sent.partition"
    " AND dead_letter.record_offset = sent.record_offset"
)
DISCARD: Final = (
    "WITH closed AS (UPDATE dead_letter SET closed_at = clock_timestamp(),"  # noqa: S608
    " closed_as = 'discarded', closed_note = $6, redrive_asked_at = NULL"
    f" WHERE closed_at IS NULL AND {_MATCHES}"
    " AND ($4::timestamptz IS NULL OR dead_lettered_at <= $4) RETURNING 1),"
    f" forgotten AS (DELETE FROM dead_letter_overflow WHERE {_MATCHES}"
    " AND ($4::timestamptz IS NULL OR newest_at <= $4) RETURNING letters)"
    " SELECT (SELECT count(*) FROM closed) AS closed,"
    " (SELECT coalesce(sum(letters), 0)::bigint FROM forgotten) AS forgotten"
)
SUMMARY: Final = (
    "SELECT topic, source, reason, sum(kept)::bigint AS kept, sum(overflow)::bigint AS overflow,"
    " min(oldest) AS oldest, max(newest) AS newest FROM ("
    " SELECT topic, source, reason, count(*) AS kept, 0 AS overflow, min(dead_lettered_at) AS oldest,"
    " max(dead_lettered_at) AS newest FROM dead_letter WHERE closed_at IS NULL"
    " GROUP BY topic, source, reason UNION ALL SELECT topic, source, reason, 0, letters,"
    " day::timestamp AT TIME ZONE 'UTC', newest_at FROM dead_letter_overflow) AS found"
    " GROUP BY topic, source, reason ORDER BY sum(kept) + sum(overflow) DESC, topic, source, reason"
)
ASK_REDRIVE_MATCHING: Final = (
    "UPDATE dead_letter SET redrive_asked_at = clock_timestamp()"  # noqa: S608
    f" WHERE closed_at IS NULL AND {_MATCHES}"
    " AND ($4::timestamptz IS NULL OR dead_lettered_at <= $4) RETURNING dead_letter_id"
)
ASK_REDRIVE: Final = (
    "UPDATE dead_letter SET redrive_asked_at = clock_timestamp()"
    " WHERE dead_letter_id = ANY($1::bigint[]) AND closed_at IS NULL"
)
CLOSE: Final = (
    "UPDATE dead_letter SET closed_at = clock_timestamp(), closed_as = $2,"
    " closed_note = $3, redrive_asked_at = NULL"
    " WHERE dead_letter_id = $1 AND closed_at IS NULL"
)
FAILED_AGAIN: Final = (
    "UPDATE dead_letter SET attempts = attempts + 1, reason = $2, detail = $3,"
    " redrive_asked_at = NULL,"
    " parked_shard = CASE WHEN $2 = 'shard_parked' THEN parked_shard END"
    " WHERE dead_letter_id = $1"
)
WAITING: Final = "SELECT 1 FROM dead_letter WHERE parked_shard = $1 AND closed_at IS NULL LIMIT 1"

# -- what is counted and checked -----------------------------------------------------------------------

COUNTED: Final = (
    "SELECT reason, count(*) AS letters, count(*) FILTER (WHERE published_at IS NULL) AS unsent,"
    " greatest(0, extract(epoch FROM clock_timestamp() - min(dead_lettered_at)))::float8"
    " AS age_seconds FROM dead_letter WHERE closed_at IS NULL GROUP BY reason"
    " ORDER BY letters DESC, reason"
)
OVERFLOW: Final = (
    "SELECT sum(letters)::bigint AS letters FROM dead_letter_overflow HAVING count(*) > 0"
)
KEPT: Final = "SELECT count(*) FROM dead_letter"
FIRST_OPEN: Final = (
    "SELECT dead_letter_id, reason FROM dead_letter WHERE closed_at IS NULL"
    " ORDER BY dead_letter_id LIMIT 1"
)

# -- what is erased ------------------------------------------------------------------------------------

WITH_RECORDS: Final = (
    "SELECT dead_letter_id, account_id, record_key, record_value, record_headers,"
    " record_bytes IS NOT NULL AS cut FROM dead_letter"
    " WHERE record_value IS NOT NULL OR record_key IS NOT NULL OR record_headers <> '[]'"
)
BLANK: Final = (
    "UPDATE dead_letter SET record_value = NULL, record_key = NULL, record_headers = '[]',"
    " closed_at = coalesce(closed_at, clock_timestamp()),"
    " closed_as = coalesce(closed_as, 'discarded'), closed_note = $2,"
    " redrive_asked_at = NULL WHERE dead_letter_id = ANY($1::bigint[])"
)
"""Takes the records away and closes the letters, with a note."""
FORGET: Final = (
    "UPDATE dead_letter SET record_value = NULL, record_key = NULL, record_headers = '[]'"
    " WHERE dead_letter_id = ANY($1::bigint[])"
)
"""Takes the records away; the letters stay as they are."""


def superseded(accounts: str, reason: str, note: str) -> str:
    """Return a statement that closes the letters of accounts with a reason, to stand in another.

    `accounts` is where that one has the accounts; `reason` and `note` are constants of the caller.
    """
    return (
        "UPDATE dead_letter SET closed_at = clock_timestamp(), closed_as = 'discarded',"  # noqa: S608
        f" closed_note = '{note}', redrive_asked_at = NULL"
        f" WHERE account_id = ANY({accounts}::text[]) AND reason = '{reason}' AND closed_at IS NULL"
    )


def listed(condition: str) -> str:
    """Return the query for the rows of a condition."""
    return f"SELECT {COLUMNS} FROM dead_letter {condition}"  # noqa: S608


def dead_letter_row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the parameters of `INSERT`; header values become base64."""
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

"""The table `effect`: every statement on it, but for the functions of a turn, and what its rows mean.

Nobody else names the table. An effect is in one `EffectState`, for metrics, commands and alerts alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from services.runtime.effect import RunKey, Start
from services.runtime.log.event_log import EffectOrigin, LeasedEffect
from services.runtime.log.leasing import leased_effect


class EffectState(StrEnum):
    """What an effect does now. Whether its last result could not be recorded is told beside it."""

    RUNNING = "running"
    """A process has it on lease."""
    DUE = "due"
    """It is to be done now, and no process has it."""
    HELD = "held"
    """It waits for something else."""
    RETRYING = "retrying"
    """It was tried, and is due later."""
    SCHEDULED = "scheduled"
    """It was never tried, and is due later."""


_RUNS: Final = "coalesce(lease_until > clock_timestamp(), false)"
STATE: Final = (
    f"CASE WHEN {_RUNS} THEN '{EffectState.RUNNING}'"
    f" WHEN due_at <= clock_timestamp() THEN '{EffectState.DUE}'"
    f" WHEN hold_key IS NOT NULL THEN '{EffectState.HELD}'"
    f" WHEN attempt > 0 THEN '{EffectState.RETRYING}' ELSE '{EffectState.SCHEDULED}' END"
)
LEASED: Final = (
    "effect.shard, effect.effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,"
    " traceparent, payload, checkpoint, attempt"
)

# -- what a worker does ------------------------------------------------------------------------------

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
MARK: Final = (
    "UPDATE effect SET checkpoint = mark.checkpoint"
    " FROM unnest($1::int[], $2::text[], $3::int[], $4::text[])"
    " AS mark(shard, effect_id, attempt, checkpoint)"
    " WHERE effect.shard = mark.shard AND effect.effect_id = mark.effect_id"
    " AND effect.attempt = mark.attempt AND effect.lease_until IS NOT NULL"
    " RETURNING effect.shard, effect.effect_id, effect.attempt"
)
SET_ASIDE: Final = (
    "UPDATE effect SET lease_until = NULL, trouble = $5, due_at = $4"
    " WHERE shard = $1 AND effect_id = $2 AND attempt = $3 AND lease_until IS NOT NULL"
)
EXTEND: Final = (
    "UPDATE effect SET lease_until = clock_timestamp() + make_interval(secs => $4)"
    " WHERE (shard, effect_id) IN (SELECT shard, effect_id FROM effect JOIN"
    " unnest($1::int[], $2::text[], $3::int[]) AS running(shard, effect_id, attempt)"
    " USING (shard, effect_id, attempt) WHERE lease_until IS NOT NULL"
    " FOR UPDATE OF effect SKIP LOCKED)"
)
LET_GO: Final = (
    "UPDATE effect SET hold_key = NULL, due_at = $3"
    " WHERE shard = ANY($1::int[]) AND hold_key = ANY($2::text[])"
)
"""What is held under keys in their shards is due at a moment."""

# -- what a person sees and asks for ---------------------------------------------------------------

LISTED: Final = (
    f"SELECT effect_id, kind, {STATE} AS state, stream_id, account_id, started_at, due_at, attempt,"  # noqa: S608
    " checkpoint, trouble FROM effect"
)
LIST: Final = f"{LISTED} WHERE $1 OR hold_key IS NULL ORDER BY started_at, effect_id LIMIT $2"
ONE_LISTED: Final = f"{LISTED} WHERE effect_id = $1"
MAKE_DUE: Final = (
    "UPDATE effect SET due_at = least(due_at, clock_timestamp())"  # noqa: S608 - a constant
    f" WHERE effect_id = $1 AND hold_key IS NULL AND NOT {_RUNS} RETURNING 1"
)
TO_SETTLE: Final = (
    f"SELECT {LEASED}, interrupted AS was_interrupted, {_RUNS} AS running FROM effect"  # noqa: S608
    " WHERE shard = $1 AND effect_id = $2"
)
TO_SETTLE_LOCKED: Final = f"{TO_SETTLE} FOR UPDATE"
COUNTED: Final = (
    f"SELECT kind, {STATE} AS state, count(*) AS effects,"  # noqa: S608
    " min(started_at) AS oldest_started_at, min(due_at) AS oldest_due_at,"
    " greatest(0, extract(epoch FROM clock_timestamp() - min(started_at)))::float8 AS age_seconds,"
    " greatest(0, extract(epoch FROM clock_timestamp() - min(due_at)))::float8 AS overdue_seconds,"
    " count(trouble) AS aside FROM effect GROUP BY 1, 2 ORDER BY 1, 2"
)

OF_KINDS: Final = "SELECT kind, stream_id, payload FROM effect WHERE kind = ANY($1)"

# -- what archiving and recovery need ----------------------------------------------------------------

STREAMS_AT_WORK: Final = "SELECT DISTINCT stream_id FROM effect WHERE shard = $1"
RESTORE: Final = (
    "INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id,"
    " correlation_id, traceparent, payload, hold_key, due_at, interrupted)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb, $10,"
    " CASE WHEN $10::text IS NULL THEN coalesce($11, clock_timestamp()) ELSE $11 END, true)"
    " ON CONFLICT (shard, effect_id) DO UPDATE SET interrupted = true,"
    " hold_key = coalesce(excluded.hold_key, effect.hold_key),"
    " due_at = CASE WHEN excluded.hold_key IS NULL THEN effect.due_at ELSE excluded.due_at END"
)
RELEASE: Final = (
    "UPDATE effect SET hold_key = NULL, due_at = clock_timestamp(), interrupted = true"
    " WHERE shard = $1 AND hold_key = $2"
)
DROP_OTHERS: Final = (
    "DELETE FROM effect WHERE shard = $1 AND stream_id = $2 AND kind = $3"
    " AND NOT effect_id = ANY($4::text[])"
)


def wanted_of_kind(kind: str) -> str:
    """Return a query for the streams with an effect of a kind that is not held, to stand in another.

    `kind` is where that statement has the kind, such as `$1`.
    """
    return f"SELECT stream_id FROM effect WHERE kind = {kind} AND hold_key IS NULL"  # noqa: S608


def shard_of(effect_id: str) -> str:
    """Return a query for the shard of an effect, as `wanted_of_kind`."""
    return f"SELECT shard FROM effect WHERE effect_id = {effect_id}"  # noqa: S608 - a parameter


def at_work(shard: str, stream_ids: str) -> str:
    """Return a query for those of streams that have an effect, as `wanted_of_kind`."""
    return (
        f"SELECT stream_id FROM effect WHERE shard = {shard}"  # noqa: S608 - names of parameters
        f" AND stream_id = ANY({stream_ids})"
    )


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


def run_columns(runs: Iterable[RunKey]) -> tuple[list[int], list[str], list[int]]:
    """Return run keys as the three arrays that statements unnest."""
    keys = list(runs)
    return [run[0] for run in keys], [run[1] for run in keys], [run[2] for run in keys]

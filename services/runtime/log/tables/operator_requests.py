"""The table `operator_request`: what a person asked about an effect, and what became of it."""

from __future__ import annotations

from typing import Final

from services.runtime.log.tables.effects import shard_of

OPEN: Final = (
    "SELECT request_id, shard, effect_id, content FROM operator_request"
    " WHERE closed_at IS NULL ORDER BY asked_at, request_id"
)
STILL_OPEN: Final = (
    "SELECT 1 FROM operator_request WHERE request_id = $1 AND closed_at IS NULL FOR UPDATE"
)
CLOSE: Final = (
    "UPDATE operator_request SET closed_at = clock_timestamp(), closed_as = $2, closed_note = $3"
    " WHERE request_id = $1 AND closed_at IS NULL"
)
ASK: Final = (
    "INSERT INTO operator_request (request_id, shard, effect_id, content)"  # noqa: S608
    f" SELECT $1, shard, $2::text, $3::jsonb FROM ({shard_of('$2')}) AS known RETURNING 1"
)
ANSWER: Final = (
    "SELECT closed_as, closed_note FROM operator_request"
    " WHERE request_id = $1 AND closed_at IS NOT NULL"
)

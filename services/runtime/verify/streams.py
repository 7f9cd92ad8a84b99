"""Checks that each stream of a log has every version, a range of streams at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.runtime.verify.checks import RESTORE, Check

if TYPE_CHECKING:
    import asyncpg

EVENTS_AT_ONCE: Final = 20_000
# Both go along the unique key of stream and version, and read no row. What is still here of an
# archived stream is its end, or what came behind it.
_LAST_STREAM: Final = (
    "SELECT max(stream_id) FROM (SELECT stream_id FROM event WHERE stream_id > $1"
    " ORDER BY stream_id LIMIT $2) AS next"
)
_STREAMS: Final = (
    "SELECT count(*) AS streams,"
    " min(stream_id) FILTER (WHERE newest - first + 1 <> events"
    " OR first > coalesce(known.stream_version, 0) + 1) AS broken"
    " FROM (SELECT stream_id, min(stream_version) AS first, max(stream_version) AS newest,"
    " count(*) AS events FROM event WHERE stream_id > $1 AND stream_id <= $2"
    " GROUP BY stream_id) AS stream LEFT JOIN archived_stream AS known USING (stream_id)"
)


async def check_versions(connection: asyncpg.Connection) -> Check:
    """Look for streams whose versions are not 1, 2, 3 ..., or do not go on behind archived ones."""
    streams, problem, last = 0, None, ""
    while end := await connection.fetchval(_LAST_STREAM, last, EVENTS_AT_ONCE):
        row = await connection.fetchrow(_STREAMS, last, end)
        assert row is not None  # noqa: S101 - for mypy: an aggregate always has a row
        streams += row["streams"]
        if row["broken"] is not None and problem is None:
            problem = f"versions of {row['broken']} are missing"
        last = end
    return Check("dense stream versions", f"{streams} streams", problem, RESTORE)

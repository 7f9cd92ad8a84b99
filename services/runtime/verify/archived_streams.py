"""Compares what the database keeps of archived streams with their events, read from the files.

A row of `archived_stream` is all that keeps an id used up once its events are in files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from services.runtime.archive.ranges import Archive
from services.runtime.errors import Halt, Park
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.processor import Streams, archival_of
from services.runtime.verify.checks import RESTORE, Check

_STREAMS_AT_ONCE: Final = 1000
_ROWS: Final = (
    "SELECT stream_id, stream_version, first_position, last_position, account_id, remains"
    " FROM archived_stream WHERE shard = $1"
)
_REST: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND stream_id = ANY($3::text[])"
    " ORDER BY stream_id, stream_version"
)
_UNREAD: Final = "what is left of archived streams: name the folder of their files with --archive"


@dataclass(slots=True)
class _Stream:
    """A stream as its events tell it."""

    state: Any
    version: int = 0
    first: int = 0
    last: int = 0
    account_id: str = ""


@dataclass(slots=True)
class _Shard:
    """The streams of one shard that are in files."""

    kinds: Streams
    rows: dict[str, Any]
    streams: dict[str, _Stream] = field(default_factory=dict)

    def add(self, events: Iterable[StoredEvent]) -> None:
        """Fold events, up to the version that the row says."""
        for stored in events:
            row = self.rows.get(stored.stream_id)
            if row is not None and stored.stream_version > row["stream_version"]:
                continue
            stream, kind = (
                self.streams.get(stored.stream_id),
                self.kinds.kind_of(stored.stream_id),
            )
            if stream is None:
                stream = _Stream(kind.initial_state(), first=stored.position)
                self.streams[stored.stream_id] = stream
            stream.state = kind.evolve(stream.state, stored.event(self.kinds.events))
            stream.version, stream.last = stored.stream_version, stored.position
            stream.account_id = stored.account_id

    def unfinished(self) -> Iterator[str]:
        """Yield the streams whose last events are not in files yet."""
        for stream_id, stream in self.streams.items():
            row = self.rows.get(stream_id)
            if row is not None and stream.version < row["stream_version"]:
                yield stream_id

    def problem(self) -> str | None:
        """Say which row is absent, has no events, or differs from them."""
        for stream_id in sorted(self.rows.keys() | self.streams.keys()):
            row, stream = self.rows.get(stream_id), self.streams.get(stream_id)
            if row is None:
                return f"nothing is left of {stream_id}: whoever asks for it again begins it anew"
            if stream is None:
                return f"{stream_id} is said to be archived, and no file has an event of it"
            told = (stream_id, stream.version, stream.first, stream.last, stream.account_id)
            if told != tuple(row)[:5]:
                return f"what is left of {stream_id} does not fit its events"
            archival = archival_of(self.kinds.kind_of(stream_id))
            if json.loads(row["remains"]) != archival.remains(stream.state):
                return f"what is left of {stream_id} is not what its events come to"
        return None


async def check_archived_streams(
    connection: Any,  # noqa: ANN401 - asyncpg's
    archive: Archive,
    kinds: Streams,
) -> Check:
    """Fold the streams of the files that are read, and compare each with its row, both ways."""
    compared, problem, unread = 0, None, ""
    for shard in sorted(archive.ranges):
        if not archive.is_read(shard):
            unread = _UNREAD
            continue
        rows = {row["stream_id"]: row for row in await connection.fetch(_ROWS, shard)}
        told = _Shard(kinds, rows)
        try:
            async for events in archive.slices(shard):
                told.add(events)
            rest = list(told.unfinished())
            end = archive.ranges[shard][-1].last_position
            for first in range(0, len(rest), _STREAMS_AT_ONCE):
                some = rest[first : first + _STREAMS_AT_ONCE]
                found = await connection.fetch(_REST, shard, end, some)
                told.add(stored_event(row) for row in found)
            found_problem = told.problem()
        except (Park, Halt) as unknown:
            found_problem = f"shard {shard} cannot be compared: {unknown}"
        compared += len(told.streams)
        problem = problem or found_problem
    return Check("archived streams", f"{compared} streams", problem, RESTORE, unread)

"""What of a log is archived, and the files that are read in place of its rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.runtime.archive.files import check_file, events_in
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import GENESIS_HASH, StoredEvent

SLICE: Final = 2000
_RANGES: Final = (
    "SELECT shard, first_position, last_position, previous_hash, last_hash, last_sequence, file,"
    " file_sha256 FROM archived_range ORDER BY shard, last_position"
)
_ENDS: Final = "SELECT shard, archived_position FROM shard WHERE archived_position > 0"


class Range(NamedTuple):
    """Positions of a shard that are in a file, and what the chain has before and at their end."""

    shard: int
    first_position: int
    last_position: int
    previous_hash: bytes
    last_hash: bytes
    last_sequence: int
    file: str
    file_sha256: bytes


@dataclass(slots=True)
class Archive:
    """The archived ranges of a log, by shard; `folder` holds their files, if they are to be read.

    `problems` are why a shard is not archived as it says, or its files cannot be read.
    """

    ranges: Mapping[int, Sequence[Range]] = field(default_factory=dict)
    folder: Path | None = None
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Say whether all of the log is in the database."""
        return not self.ranges and not self.problems

    @property
    def events(self) -> int:
        """Return how many events are archived."""
        return sum(ranges[-1].last_position for ranges in self.ranges.values())

    def is_read(self, shard: int) -> bool:
        """Say whether the files of a shard are there and sound, and so are read."""
        return self.folder is not None and shard in self.ranges and shard not in self.problems

    async def slices(self, shard: int) -> AsyncIterator[list[StoredEvent]]:
        """Yield the archived events of a shard, some at a time; none when they are not read."""
        if self.folder is None or not self.is_read(shard):
            return
        for each in self.ranges[shard]:
            events = events_in(self.folder / each.file)
            while found := await asyncio.to_thread(lambda source: [*islice(source, SLICE)], events):
                yield found


async def open_archive(
    connection: Any,  # noqa: ANN401 - asyncpg's
    folder: Path | None = None,
    keys: KeyRing | None = None,
) -> Archive:
    """Return what is archived of a log; files of `folder` are read to their end and compared.

    Hold the archive (`hold_archive`) before, or more may leave meanwhile.
    """
    ranges: dict[int, list[Range]] = defaultdict(list)
    for row in await connection.fetch(_RANGES):
        ranges[row["shard"]].append(Range(*row))
    ends = {row["shard"]: row["archived_position"] for row in await connection.fetch(_ENDS)}
    archive = Archive(dict(ranges), folder)
    for shard in sorted(ranges.keys() | ends.keys()):
        if problem := _gap(shard, ranges.get(shard, []), ends.get(shard, 0)):
            archive.problems[shard] = problem
            continue
        if folder is not None and (problem := await _wrong_file(folder, ranges[shard], keys)):
            archive.problems[shard] = problem
    return archive


async def _wrong_file(folder: Path, ranges: Sequence[Range], keys: KeyRing | None) -> str | None:
    for each in ranges:
        if problem := await asyncio.to_thread(_difference, folder, each, keys):
            return problem
    return None


def _gap(shard: int, ranges: Sequence[Range], end: int) -> str | None:
    """Say where the ranges of a shard do not follow each other up to its end."""
    position, last_hash = 0, GENESIS_HASH
    for each in ranges:
        if (each.first_position, each.previous_hash) != (position + 1, last_hash):
            return f"shard {shard}: what is archived does not go on behind position {position}"
        position, last_hash = each.last_position, each.last_hash
    if position != end:
        return f"shard {shard} is archived up to {end}, and its ranges up to {position}"
    return None


def _difference(folder: Path, known: Range, keys: KeyRing | None) -> str | None:
    try:
        manifest = check_file(folder, known.file, keys)
    except ConfigurationError as problem:
        return f"shard {known.shard}: {problem}"
    found = Range(
        manifest.shard,
        manifest.first_position,
        manifest.last_position,
        bytes.fromhex(manifest.previous_hash),
        bytes.fromhex(manifest.last_hash),
        manifest.last_sequence,
        manifest.file,
        bytes.fromhex(manifest.sha256),
    )
    if found == known:
        return None
    return f"shard {known.shard}: {known.file} is not the file that was archived"

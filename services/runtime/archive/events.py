"""Moves events to files, for `perennial archive events`: written, read back, then let go.

One range of positions at a time. When this stops anywhere, nothing is lost: either the events are in
the database, or they are in a file that was read back, and what is in both goes with the next run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from schemas.envelope import utc_text
from services.runtime.archive.files import (
    ROWS,
    EventFile,
    Manifest,
    check_file,
    manifest_path,
    write_manifest,
)
from services.runtime.archive.plan import ArchivePlan, HeldEvents, plan_range
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import GENESIS_HASH
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.log.tables.effects import at_work
from services.runtime.log.taken_events import SEGMENTS_OUTLIVE
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Streams

"""What is younger may still lie on its topic, and is compared with it there."""
SLICE: Final = 2000
_ATTEMPTS: Final = 5
_LOCK: Final = "hashtextextended('perennial archive of ' || current_schema(), 0)"
_EVENTS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position"
)
_REVIVED: Final = (
    "SELECT stream_id FROM unnest($1::text[], $2::bigint[])"  # noqa: S608 - names of parameters
    " AS leaving(stream_id, stream_version)"
    " WHERE EXISTS (SELECT FROM event WHERE event.stream_id = leaving.stream_id"
    " AND event.stream_version > leaving.stream_version)"
    f" UNION ALL {at_work('$3', '$1')} LIMIT 1"
)
_LEAVE: Final = (
    "INSERT INTO archived_stream AS known (stream_id, shard, stream_version, first_position,"
    " last_position, account_id, recorded_at, remains) SELECT * FROM unnest($1::text[], $2::int[],"
    " $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::timestamptz[], $8::bytea[])"
    " ON CONFLICT (stream_id) DO UPDATE SET stream_version = excluded.stream_version,"
    " first_position = least(known.first_position, excluded.first_position),"
    " last_position = excluded.last_position, recorded_at = excluded.recorded_at,"
    " remains = excluded.remains"
)
_REGISTER: Final = (
    "INSERT INTO archived_range (shard, first_position, last_position, previous_hash, last_hash,"
    " last_sequence, file, file_sha256) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
)
_LEFT: Final = (
    "SELECT DISTINCT file FROM archived_range JOIN event USING (shard)"
    " WHERE shard = $1 AND position = (SELECT min(position) FROM event WHERE shard = $1)"
    " AND first_position <= position AND last_position >= position"
)


@dataclass(slots=True)
class ArchiveOutcome:
    """The files that were written, and what keeps the rest of each shard in the database."""

    written: list[Manifest] = field(default_factory=list)
    held: list[HeldEvents] = field(default_factory=list)


async def archive_events(  # noqa: PLR0913 - whose, which, where to, and by whom it is signed
    connection: Any,  # noqa: ANN401 - asyncpg's
    service: str,
    streams: Streams,
    *,
    before: datetime,
    folder: Path,
    now: datetime,
    retention: timedelta,
    keys: KeyRing | None,
) -> ArchiveOutcome:
    """Move the events of every shard that are over and older than `before`; services may run.

    `connection` is the owner's: a service may not delete. No topic keeps a record longer than
    `retention`.

    Raises:
        ConfigurationError: the moment is too recent, somebody verifies or archives this log, or
            what was written does not read back.
        Transient: the database is unwell.
    """
    age_min = retention + SEGMENTS_OUTLIVE
    if before > now - age_min:
        message = (
            f"what is younger than {age_min.days} days may still be on its topic: name a moment "
            f"until {utc_text(now - age_min)}"
        )
        raise ConfigurationError(message)
    outcome = ArchiveOutcome()
    with transient_when_unwell():
        async with _alone(connection):
            for row in await connection.fetch("SELECT shard FROM shard ORDER BY shard"):
                run = _Run(connection, service, streams, before, folder, keys)
                await run.shard(row["shard"], outcome)
    return outcome


async def hold_archive(connection: Any) -> None:  # noqa: ANN401 - asyncpg's
    """Have nothing leave the database for as long as `connection` is open."""
    await connection.execute(f"SELECT pg_advisory_lock_shared({_LOCK})")


@asynccontextmanager
async def _alone(connection: Any) -> AsyncIterator[None]:  # noqa: ANN401 - asyncpg's
    if not await connection.fetchval(f"SELECT pg_try_advisory_lock({_LOCK})"):
        message = "somebody verifies or archives this log: try again when that is done"
        raise ConfigurationError(message)
    try:
        yield
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")


@dataclass(frozen=True, slots=True)
class _Run:
    connection: Any
    service: str
    streams: Streams
    before: datetime
    folder: Path
    keys: KeyRing | None

    async def shard(self, shard: int, outcome: ArchiveOutcome) -> None:
        await self._let_go(shard)
        attempts = 0
        while attempts < _ATTEMPTS:
            plan = await plan_range(self.connection, shard, self.streams, self.before)
            if plan.empty:
                outcome.held += [plan.held] if plan.held else []
                return
            manifest = await self._write(plan)
            if not await self._register(plan, manifest):
                self._forget(manifest)
                attempts += 1
                continue
            outcome.written.append(manifest)
            await self._let_go(shard)

    async def _write(self, plan: ArchivePlan) -> Manifest:
        """Write the range and read it back."""
        name = f"{self.service}-{plan.shard}-{plan.first_position}-{plan.last_position}"
        path = self.folder / f"{name}-{uuid4().hex[:8]}{ROWS}"
        file = EventFile(path, self.service, plan.first_position, await self._previous(plan))
        with file.writing():
            for after in range(plan.first_position - 1, plan.last_position, SLICE):
                until = min(after + SLICE, plan.last_position)
                for row in await self.connection.fetch(_EVENTS, plan.shard, after, until):
                    file.add(stored_event(row))
        manifest = file.manifest()
        write_manifest(self.folder, manifest, self.keys)
        try:
            return check_file(self.folder, manifest.file, self.keys)
        except ConfigurationError as problem:
            message = f"{problem}: nothing was deleted from the database"
            raise ConfigurationError(message) from None

    async def _previous(self, plan: ArchivePlan) -> bytes:
        if plan.first_position == 1:
            return GENESIS_HASH
        found: bytes = await self.connection.fetchval(
            "SELECT last_hash FROM archived_range WHERE shard = $1 AND last_position = $2",
            plan.shard,
            plan.first_position - 1,
        )
        return found

    async def _register(self, plan: ArchivePlan, manifest: Manifest) -> bool:
        """Note what left, in one transaction; say no when a stream went on meanwhile."""
        leaving = list(plan.streams.values())
        async with self.connection.transaction():
            # Whoever appends to the shard or starts an effect in it holds this lock.
            await self.connection.execute(
                "SELECT FROM shard WHERE shard = $1 FOR UPDATE", plan.shard
            )
            names = [each.stream_id for each in leaving]
            versions = [each.stream_version for each in leaving]
            if await self.connection.fetchval(_REVIVED, names, versions, plan.shard):
                return False
            columns = ([getattr(each, name) for each in leaving] for name in _COLUMNS)
            await self.connection.execute(_LEAVE, *columns)
            await self.connection.execute(
                _REGISTER,
                manifest.shard,
                manifest.first_position,
                manifest.last_position,
                bytes.fromhex(manifest.previous_hash),
                bytes.fromhex(manifest.last_hash),
                manifest.last_sequence,
                manifest.file,
                bytes.fromhex(manifest.sha256),
            )
        return True

    def _forget(self, manifest: Manifest) -> None:
        manifest_path(self.folder, manifest.file).unlink()
        (self.folder / manifest.file).unlink()

    async def _let_go(self, shard: int) -> None:
        """Delete what is archived, in slices, when its file is there and sound.

        Raises:
            ConfigurationError: it is not; the events stay.
        """
        while file := await self.connection.fetchval(_LEFT, shard):
            try:
                manifest = check_file(self.folder, file, self.keys)
            except ConfigurationError as problem:
                message = f"{problem}: its events are still in the database, and stay there"
                raise ConfigurationError(message) from None
            last = manifest.last_position
            for after in range(manifest.first_position - 1, last, SLICE):
                await self.connection.execute(
                    "DELETE FROM event WHERE shard = $1 AND position > $2 AND position <= $3",
                    shard,
                    after,
                    min(after + SLICE, last),
                )


_COLUMNS: Final = (
    *("stream_id", "shard", "stream_version", "first_position", "last_position", "account_id"),
    *("recorded_at", "remains"),
)

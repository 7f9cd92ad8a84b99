"""Moves closed dead letters and closed requests of operators to files, for `perennial archive`.

A file cannot forget. So of a letter it holds where the record was, why it was kept, what became of
it and the SHA-256 of its value, and nothing of the record itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from schemas.envelope import utc_text
from services.runtime.errors import MALFORMED, ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.postgres.errors import transient_when_unwell

AT_ONCE: Final = 1000
MANIFEST: Final = ".manifest.json"
ROWS: Final = ".jsonl"
AGE_BEYOND_RETENTION: Final = timedelta(days=1)
"""What is younger may come again from its topic, and is then known by its letter."""
_CONTEXT: Final = b"perennial-archive-1\0"


@dataclass(frozen=True, slots=True)
class ArchiveKind:
    """What is archived together: its table, its key, what is kept of a row, which rows are closed."""

    name: str
    table: str
    key: str
    key_type: str
    columns: str
    closed: str


KINDS: Final = (
    ArchiveKind(
        "letters",
        "dead_letter",
        "dead_letter_id",
        "bigint",
        "dead_letter_id, topic, topic_id, partition, record_offset, source, account_id, reason,"
        " detail, attempts, dead_lettered_at, closed_at, closed_as, closed_note,"
        " record_bytes, octet_length(record_value) AS value_bytes_kept,"
        " encode(coalesce(value_sha256, sha256(record_value)), 'hex') AS value_sha256",
        "closed_at < $1 AND dead_lettered_at < $1 AND published_at IS NOT NULL",
    ),
    ArchiveKind(
        "requests",
        "operator_request",
        "request_id",
        "uuid",
        "request_id, shard, effect_id, content, asked_at, closed_at, closed_as, closed_note",
        "closed_at < $1",
    ),
)


@dataclass(frozen=True, slots=True)
class Archived:
    """A file of rows that are no longer in the database."""

    kind: str
    rows: int
    file: Path


async def archive_closed(  # noqa: PLR0913 - whose, which, where to, and by whom it is signed
    connection: Any,  # noqa: ANN401 - asyncpg's
    service: str,
    *,
    before: datetime,
    folder: Path,
    now: datetime,
    retention: timedelta,
    keys: KeyRing | None,
) -> list[Archived]:
    """Write what was closed before a moment to files, read them back, then delete the rows.

    `connection` is the owner's: a service may not delete. No topic keeps a record longer than
    `retention`. When this stops in the middle, rows are
    both in a file and in the database, and in another file after the next run.

    Raises:
        ConfigurationError: the moment is too recent, or what was written does not read back.
        Transient: the database is unwell.
    """
    age_min = retention + AGE_BEYOND_RETENTION
    if before > now - age_min:
        message = (
            f"what is younger than {age_min.days} days may come again from its topic: name a moment "
            f"until {utc_text(now - age_min)}"
        )
        raise ConfigurationError(message)
    archived = []
    for kind in KINDS:
        file = folder / f"{service}-{kind.name}-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}{ROWS}"
        with transient_when_unwell():
            ids = await _write(connection, kind, before, file, keys)
            if not ids:
                continue
            if problem := problem_of(file, keys):
                message = f"{problem}: nothing was deleted from the database"
                raise ConfigurationError(message)
            await _delete(connection, kind, before, ids)
        archived.append(Archived(kind.name, len(ids), file))
    return archived


async def _write(
    connection: Any,  # noqa: ANN401 - asyncpg's
    kind: ArchiveKind,
    before: datetime,
    file: Path,
    keys: KeyRing | None,
) -> list[object]:
    """Write the rows and their manifest; return the keys of the rows. No file when there are none."""
    ids: list[object] = []
    digest = hashlib.sha256()
    partial = file.with_suffix(".partial")
    with partial.open("wb") as output:
        async for key, line in _rows(connection, kind, before):
            ids.append(key)
            digest.update(line)
            output.write(line)
        output.flush()
        os.fsync(output.fileno())
    if not ids:
        partial.unlink()
        return ids
    partial.rename(file)
    content: dict[str, Any] = {
        "file": file.name,
        "rows": len(ids),
        "sha256": digest.hexdigest(),
        "before": utc_text(before),
    }
    if keys is not None:
        content["mac"] = keys.sign(_signed(content))
    manifest = file.with_suffix(MANIFEST)
    with manifest.open("w", encoding="utf-8") as text:
        text.write(json.dumps(content, sort_keys=True) + "\n")
        text.flush()
        os.fsync(text.fileno())
    return ids


async def _rows(
    connection: Any,  # noqa: ANN401 - asyncpg's
    kind: ArchiveKind,
    before: datetime,
) -> AsyncIterator[tuple[object, bytes]]:
    after: object = None
    while True:
        rows = await connection.fetch(
            f"SELECT {kind.key} AS key, to_jsonb(kept)::text AS line FROM (SELECT {kind.columns}"  # noqa: S608 - constants
            f" FROM {kind.table} WHERE {kind.closed} AND ($2::text IS NULL"
            f" OR {kind.key} > $2::text::{kind.key_type})"
            f" ORDER BY {kind.key} LIMIT {AT_ONCE}) AS kept ORDER BY {kind.key}",
            before,
            None if after is None else str(after),
        )
        for row in rows:
            yield row["key"], row["line"].encode() + b"\n"
        if len(rows) < AT_ONCE:
            return
        after = rows[-1]["key"]


async def _delete(
    connection: Any,  # noqa: ANN401 - asyncpg's
    kind: ArchiveKind,
    before: datetime,
    ids: list[object],
) -> None:
    for first in range(0, len(ids), AT_ONCE):
        await connection.execute(
            f"DELETE FROM {kind.table} WHERE {kind.key} = ANY($2) AND {kind.closed}",  # noqa: S608
            before,
            ids[first : first + AT_ONCE],
        )


def problems_in(folder: Path, keys: KeyRing | None) -> tuple[int, list[str]]:
    """Return how many archives a folder holds, and what is wrong with which."""
    files = set(folder.glob(f"*{ROWS}"))
    files |= {
        path.with_name(path.name.removesuffix(MANIFEST) + ROWS)
        for path in folder.glob(f"*{MANIFEST}")
    }
    return len(files), [problem for file in sorted(files) if (problem := problem_of(file, keys))]


def problem_of(file: Path, keys: KeyRing | None) -> str | None:
    """Compare an archive with its manifest and, with keys, see who signed it; None when all is well."""
    try:
        content = json.loads(file.with_suffix(MANIFEST).read_text(encoding="utf-8"))
        if keys is not None and not keys.signed(_signed(content), content["mac"]):
            return f"the manifest of {file.name} is not authentic"
        rows, digest = 0, hashlib.sha256()
        for line in _lines(file):
            rows += 1
            digest.update(line)
        found = (file.name, rows, digest.hexdigest())
        if found == (content["file"], content["rows"], content["sha256"]):
            return None
    except OSError as error:
        return f"{file.name} or its manifest cannot be read ({type(error).__name__})"
    except MALFORMED:
        return f"the manifest of {file.name} is none"
    return f"{file.name} is not what its manifest says"


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as rows:
        yield from rows


def _signed(content: dict[str, Any]) -> bytes:
    unsigned = {name: value for name, value in content.items() if name != "mac"}
    return _CONTEXT + json.dumps(unsigned, sort_keys=True).encode()

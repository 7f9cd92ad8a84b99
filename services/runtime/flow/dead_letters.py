"""Dead letters after they were kept: publishing them, listing, redriving, discarding."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.runtime.log.postgres_errors import transient_when_unwell

PUBLISHED_PER_ROUND_MAX: Final = 100
_COLUMNS: Final = (
    "dead_letter_id, topic, partition, record_offset, record_key, record_value, record_headers,"
    " reason, detail, attempts, dead_lettered_at, published_at, redrive_asked_at, closed_at,"
    " closed_as, closed_note"
)


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A row of `dead_letter`; header values are base64, because they may be any bytes."""

    dead_letter_id: int
    topic: str
    partition: int
    record_offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, str | None], ...]
    reason: str
    detail: str
    attempts: int
    dead_lettered_at: datetime
    published_at: datetime | None
    redrive_asked_at: datetime | None
    closed_at: datetime | None
    closed_as: str | None
    closed_note: str | None

    def record(self) -> RedrivenRecord:
        """Return the record as it arrived, to be handled again."""
        headers = [
            (name, None if value is None else b64decode(value)) for name, value in self.headers
        ]
        return RedrivenRecord(
            self.topic, self.partition, self.record_offset, self.key, self.value, tuple(headers)
        )


@dataclass(slots=True)
class RedrivenRecord:
    """A dead letter in the shape of a consumed record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class DeadLetterBox:
    """The `dead_letter` table of one service."""

    def __init__(self, pool: asyncpg.Pool | asyncpg.Connection) -> None:
        """Work on `pool`, whose search_path begins with the service's schema."""
        self._pool = pool

    async def unpublished(self) -> list[StoredDeadLetter]:
        """Return the oldest dead letters that are not on their topic yet."""
        return await self._fetch(
            "WHERE published_at IS NULL ORDER BY dead_letter_id LIMIT $1", PUBLISHED_PER_ROUND_MAX
        )

    async def mark_published(self, dead_letter_ids: Sequence[int]) -> None:
        """Record that these are on their dead-letter topic."""
        await self._execute(
            "UPDATE dead_letter SET published_at = clock_timestamp()"
            " WHERE dead_letter_id = ANY($1::bigint[])",
            list(dead_letter_ids),
        )

    async def listed(self, *, include_closed: bool = False) -> list[StoredDeadLetter]:
        """Return the dead letters, oldest first."""
        return await self._fetch(
            "WHERE $1 OR closed_at IS NULL ORDER BY dead_letter_id", include_closed
        )

    async def one(self, dead_letter_id: int) -> StoredDeadLetter | None:
        """Return one dead letter, or None."""
        found = await self._fetch("WHERE dead_letter_id = $1", dead_letter_id)
        return found[0] if found else None

    async def ask_redrive(self, dead_letter_ids: Sequence[int]) -> int:
        """Ask the running service to handle these again, in their order; return how many are open."""
        status = await self._execute(
            "UPDATE dead_letter SET redrive_asked_at = clock_timestamp()"
            " WHERE dead_letter_id = ANY($1::bigint[]) AND closed_at IS NULL",
            list(dead_letter_ids),
        )
        return int(status.rpartition(" ")[2])

    async def asked(self) -> list[StoredDeadLetter]:
        """Return what is to be redriven, in the order it arrived."""
        return await self._fetch(
            "WHERE redrive_asked_at IS NOT NULL AND closed_at IS NULL ORDER BY dead_letter_id"
        )

    async def close(self, dead_letter_id: int, closed_as: str, note: str) -> bool:
        """Close one as `redriven` or `discarded`, and keep the record; False when none is open."""
        status = await self._execute(
            "UPDATE dead_letter SET closed_at = clock_timestamp(), closed_as = $2,"
            " closed_note = $3, redrive_asked_at = NULL"
            " WHERE dead_letter_id = $1 AND closed_at IS NULL",
            dead_letter_id,
            closed_as,
            note,
        )
        return status != "UPDATE 0"

    async def failed_again(self, dead_letter_id: int, reason: str, detail: str) -> None:
        """Keep one open, with the newer reason."""
        await self._execute(
            "UPDATE dead_letter SET attempts = attempts + 1, reason = $2, detail = $3,"
            " redrive_asked_at = NULL WHERE dead_letter_id = $1",
            dead_letter_id,
            reason,
            detail[:500],
        )

    async def _fetch(self, condition: str, *arguments: object) -> list[StoredDeadLetter]:
        with transient_when_unwell():
            rows = await self._pool.fetch(
                f"SELECT {_COLUMNS} FROM dead_letter {condition}",  # noqa: S608
                *arguments,
            )
        return [_stored(row) for row in rows]

    async def _execute(self, statement: str, *arguments: object) -> str:
        with transient_when_unwell():
            status: str = await self._pool.execute(statement, *arguments)
        return status


def _stored(row: Any) -> StoredDeadLetter:  # noqa: ANN401 - an asyncpg record
    values = dict(row)
    values["key"] = values.pop("record_key")
    values["value"] = values.pop("record_value")
    values["headers"] = tuple(
        (name, value) for name, value in json.loads(values.pop("record_headers"))
    )
    return StoredDeadLetter(**values)

"""Dead letters after they were kept: publishing them, listing, redriving, discarding."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.runtime.log.event_log import Whole
from services.runtime.log.tables import dead_letters as table
from services.runtime.postgres.errors import transient_when_unwell

PUBLISHED_PER_ROUND_MAX: Final = 100
REDRIVEN_PER_ROUND_MAX: Final = 200
WAITING_PER_ROUND_MAX: Final = 500


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
    source: str = "unknown"
    account_id: str | None = None
    whole: Whole | None = None

    def record(self) -> RedrivenRecord:
        """Return the record as far as it is kept, to be handled again."""
        headers = [
            (name, None if value is None else b64decode(value)) for name, value in self.headers
        ]
        return RedrivenRecord(
            self.topic, self.partition, self.record_offset, self.key, self.value, tuple(headers)
        )


@dataclass(frozen=True, slots=True)
class LetterCount:
    """How many letters wait: `kept` whole in the table, `overflow` on their topic alone."""

    topic: str
    source: str
    reason: str
    kept: int
    overflow: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which open letters are meant: those that agree with everything that is not None.

    Those on the topics `spared` are meant only when their `topic` is named: for letters about events
    of our own services, whose order counts.
    """

    reason: str | None = None
    source: str | None = None
    topic: str | None = None
    until: datetime | None = None
    spared: Collection[str] = ()

    def arguments(self) -> tuple[object, ...]:
        """Return the parameters of the statements."""
        spared = [] if self.topic else sorted(self.spared)
        return self.reason, self.source, self.topic, self.until, spared


@dataclass(slots=True)
class RedrivenRecord:
    """A dead letter in the shape of a consumed record."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class DeadLetterTable:
    """The `dead_letter` table of one service."""

    def __init__(self, pool: asyncpg.Pool | asyncpg.Connection) -> None:
        """Work on `pool`, whose search_path begins with the service's schema."""
        self._pool = pool

    async def unpublished(self) -> list[StoredDeadLetter]:
        """Return the oldest dead letters that are not on their topic yet."""
        return await self._fetch(
            "WHERE published_at IS NULL ORDER BY dead_letter_id LIMIT $1", PUBLISHED_PER_ROUND_MAX
        )

    async def mark_published(self, letters: Sequence[StoredDeadLetter]) -> None:
        """Record that these are on their dead-letter topic.

        In a database that was put back meanwhile, another record may have the number of one.
        """
        await self._execute(
            table.MARK_PUBLISHED,
            [letter.dead_letter_id for letter in letters],
            [letter.topic for letter in letters],
            [letter.partition for letter in letters],
            [letter.record_offset for letter in letters],
        )

    async def listed(
        self, *, include_closed: bool = False, limit: int | None = None
    ) -> list[StoredDeadLetter]:
        """Return the dead letters, oldest first."""
        return await self._fetch(
            "WHERE $1 OR closed_at IS NULL ORDER BY dead_letter_id LIMIT $2", include_closed, limit
        )

    async def summary(self) -> list[LetterCount]:
        """Return how many letters are open of each topic, source and reason, the most first."""
        with transient_when_unwell():
            rows = await self._pool.fetch(table.SUMMARY)
        return [LetterCount(**dict(row)) for row in rows]

    async def discard_matching(self, chosen: Chosen, note: str) -> tuple[int, int]:
        """Close all open ones that match, and forget what overflowed; return how many of each."""
        with transient_when_unwell():
            [row] = await self._pool.fetch(table.DISCARD, *chosen.arguments(), note)
        return row["closed"], row["forgotten"]

    async def ask_redrive_matching(self, chosen: Chosen) -> list[int]:
        """Ask the running service to handle all open ones that match again; return which."""
        with transient_when_unwell():
            rows = await self._pool.fetch(
                table.ASK_REDRIVE_MATCHING,
                *chosen.arguments(),
            )
        return sorted(row["dead_letter_id"] for row in rows)

    async def some(self, dead_letter_ids: Sequence[int]) -> list[StoredDeadLetter]:
        """Return those that there are of the given ones, in their order."""
        return await self._fetch(
            "WHERE dead_letter_id = ANY($1::bigint[]) ORDER BY dead_letter_id",
            list(dead_letter_ids),
        )

    async def one(self, dead_letter_id: int) -> StoredDeadLetter | None:
        """Return one dead letter, or None."""
        found = await self._fetch("WHERE dead_letter_id = $1", dead_letter_id)
        return found[0] if found else None

    async def ask_redrive(self, dead_letter_ids: Sequence[int]) -> int:
        """Ask the running service to handle these again, in their order; return how many are open."""
        status = await self._execute(
            table.ASK_REDRIVE,
            list(dead_letter_ids),
        )
        return int(status.rpartition(" ")[2])

    async def asked(self) -> list[StoredDeadLetter]:
        """Return the next that are to be redriven, in the order they arrived."""
        return await self._fetch(
            "WHERE redrive_asked_at IS NOT NULL AND closed_at IS NULL ORDER BY dead_letter_id"
            " LIMIT $1",
            REDRIVEN_PER_ROUND_MAX,
        )

    async def waiting_for(self, shard: int) -> list[StoredDeadLetter]:
        """Return the oldest records that wait for a parked shard, in the order they arrived."""
        return await self._fetch(
            "WHERE parked_shard = $1 AND closed_at IS NULL ORDER BY dead_letter_id LIMIT $2",
            shard,
            WAITING_PER_ROUND_MAX,
        )

    async def close(self, dead_letter_id: int, closed_as: str, note: str) -> bool:
        """Close one as `redriven` or `discarded`, and keep the record; False when none is open."""
        status = await self._execute(
            table.CLOSE,
            dead_letter_id,
            closed_as,
            note,
        )
        return status != "UPDATE 0"

    async def failed_again(self, dead_letter_id: int, reason: str, detail: str) -> None:
        """Keep one open, with the newer reason."""
        await self._execute(
            table.FAILED_AGAIN,
            dead_letter_id,
            reason,
            detail[:500],
        )

    async def _fetch(self, condition: str, *arguments: object) -> list[StoredDeadLetter]:
        with transient_when_unwell():
            rows = await self._pool.fetch(table.listed(condition), *arguments)
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
    size, sha256 = values.pop("record_bytes"), values.pop("value_sha256")
    return StoredDeadLetter(**values, whole=None if size is None else Whole(size, sha256))

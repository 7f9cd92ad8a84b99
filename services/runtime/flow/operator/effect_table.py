"""The effects of one service as an operator sees and asks for them; payloads are never read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from services.runtime.log.tables import operator_requests
from services.runtime.log.tables.effects import LIST, MAKE_DUE, ONE_LISTED, EffectState
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Settlement


class RetryAnswer(StrEnum):
    """What came of asking for an effect now."""

    DUE_NOW = "due now"
    RUNNING = "it is running: wait for its outcome"
    HELD = "it is held for something else, and not due: see the timeline of its order"
    FINISHED = "no such effect: it has finished, or never was"


@dataclass(frozen=True, slots=True)
class EffectRow:
    """An effect without its payload.

    `trouble` is why its last result could not be recorded.
    """

    effect_id: str
    kind: str
    state: EffectState
    stream_id: str
    account_id: str
    started_at: datetime
    due_at: datetime | None
    attempt: int
    checkpoint: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class ClosedRequest:
    """What the service answered: `applied`, `ignored` or `refused`, and why."""

    closed_as: str
    note: str


class EffectTable:
    """The `effect` and `operator_request` tables of one service."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        """Work on `connection`, whose search_path begins with the service's schema."""
        self._connection = connection

    async def listed(self, *, include_held: bool = False, limit: int = 200) -> Sequence[EffectRow]:
        """Return the effects that wait or run, the one asked for first at the top."""
        with transient_when_unwell():
            rows = await self._connection.fetch(LIST, include_held, limit)
        return [_listed(row) for row in rows]

    async def one(self, effect_id: str) -> EffectRow | None:
        with transient_when_unwell():
            row = await self._connection.fetchrow(ONE_LISTED, effect_id)
        return _listed(row) if row else None

    async def retry(self, effect_id: str) -> RetryAnswer:
        """Make a waiting effect due now. What is held stays so: it may never be wanted."""
        with transient_when_unwell():
            made_due = await self._connection.fetchval(MAKE_DUE, effect_id)
        if made_due:
            return RetryAnswer.DUE_NOW
        found = await self.one(effect_id)
        if found is None:
            return RetryAnswer.FINISHED
        return RetryAnswer.RUNNING if found.state == EffectState.RUNNING else RetryAnswer.HELD

    async def ask(self, request_id: UUID, effect_id: str, settlement: Settlement) -> bool:
        """Leave a request for the running service; False when there is no such effect."""
        with transient_when_unwell():
            asked = await self._connection.fetchval(
                operator_requests.ASK,
                request_id,
                effect_id,
                settlement.model_dump_json(exclude_none=True),
            )
        return bool(asked)

    async def answer(self, request_id: UUID) -> ClosedRequest | None:
        """Return what the service made of a request; None as long as it has not."""
        with transient_when_unwell():
            row = await self._connection.fetchrow(
                operator_requests.ANSWER,
                request_id,
            )
        return ClosedRequest(row["closed_as"], row["closed_note"] or "") if row else None


def _listed(row: Any) -> EffectRow:  # noqa: ANN401 - an asyncpg record
    return EffectRow(**dict(row) | {"state": EffectState(row["state"])})

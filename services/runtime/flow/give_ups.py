"""Takes what a person settled, lets the service decide it, and closes the request with the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from services.runtime.errors import Poison
from services.runtime.flow.journal import Journal, Session
from services.runtime.flow.work import Work
from services.runtime.log.event_log import EventLog, LeasedEffect
from services.runtime.log.postgres_errors import transient_when_unwell
from services.runtime.log.postgres_rows import stored_lease
from services.runtime.processor import GiveUp, Ignored, Processor, StateT, Task

_OPEN: Final = (
    "SELECT request_id, shard, effect_id, content FROM operator_request"
    " WHERE closed_at IS NULL ORDER BY asked_at, request_id"
)
_STILL_OPEN: Final = (
    "SELECT 1 FROM operator_request WHERE request_id = $1 AND closed_at IS NULL FOR UPDATE"
)
_CLOSE: Final = (
    "UPDATE operator_request SET closed_at = clock_timestamp(), closed_as = $2, closed_note = $3"
    " WHERE request_id = $1"
)
_EFFECT: Final = (
    "SELECT shard, effect_id, kind, account_id, stream_id, cause_event_id, correlation_id,"
    " traceparent, payload, checkpoint, attempt, interrupted AS was_interrupted,"
    " coalesce(lease_until > clock_timestamp(), false) AS running FROM effect"
    " WHERE shard = $1 AND effect_id = $2 FOR UPDATE"
)
_Answer = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Request:
    request_id: UUID
    shard: int
    effect_id: str
    content: str


class GiveUpDesk(Generic[StateT]):
    """Serves the `operator_request` table of one service.

    What the person says is decided as the result of the effect, so it ends with it: nobody does it
    any more, unless the decision asks for another run. A running effect is left to its worker, and
    the request waits until the attempt is over.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        pool: asyncpg.Pool,
        log: EventLog,
        processor: Processor[StateT],
        journal: Journal[StateT],
        clock: Callable[[], datetime],
        on_recorded: Callable[[], None],
    ) -> None:
        """Decide by `processor`, on `log`, which lies in the database of `pool`."""
        self._pool = pool
        self._log = log
        self._processor = processor
        self._journal = journal
        self._clock = clock
        self._on_recorded = on_recorded

    async def serve(self) -> list[LeasedEffect]:
        """Close every open request, in the order of asking; return effects to be run at once.

        Raises:
            Transient: Postgres does not answer; what is open stays so.
        """
        with transient_when_unwell():
            rows = await self._pool.fetch(_OPEN)
        leased: list[LeasedEffect] = []
        for row in rows:
            leased += await self._close(_Request(**dict(row)))
        return leased

    async def _close(self, request: _Request) -> list[LeasedEffect]:
        now = self._clock()
        transaction = self._log.transaction(shards={request.shard})
        async with self._journal.session(transaction) as session:
            connection = session.tx.connection
            if not await connection.fetchval(_STILL_OPEN, request.request_id):
                return []
            answer = await self._decide(session, request, now)
            if answer is None:
                return []
            recorded = await session.flush(now)
            await connection.execute(_CLOSE, request.request_id, *answer)
        self._on_recorded()
        return recorded.leased

    async def _decide(
        self, session: Session[StateT], request: _Request, now: datetime
    ) -> _Answer | None:
        """Decide one request; return None as long as its effect runs."""
        effect = await session.tx.connection.fetchrow(_EFFECT, request.shard, request.effect_id)
        if effect is None:
            return "refused", "the effect has finished meanwhile: see the timeline of its order"
        if effect["running"]:
            return None
        leased = stored_lease(effect)
        on_give_up = self._processor.give_ups.get(leased.run.kind)
        if on_give_up is None:
            return (
                "refused",
                f"nobody can settle a {leased.run.kind}: it goes on until its deadline",
            )
        try:
            ruling = GiveUp.model_validate_json(request.content)
            work = _work(request, leased, on_give_up(ruling, leased.run, now))
            await session.load([work])
            outcome = session.apply(work, now)
        except ValidationError:
            return "refused", "this version does not know what was asked: use its own command"
        except Poison as poison:
            return "refused", str(poison)
        if isinstance(outcome, Ignored):
            # Nothing was settled, so the effect goes on as it was.
            session.recorded.finished.clear()
            return "ignored", outcome.reason.value
        return "applied", ", ".join(type(event).__name__ for event in outcome.events)


def _work(request: _Request, effect: LeasedEffect, command: object) -> Work:
    origin = effect.origin
    return Work(
        task=Task(origin.stream_id, command),
        shard=request.shard,
        account_id=origin.account_id,
        cause_event_id=request.request_id,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
        effect=effect,
    )

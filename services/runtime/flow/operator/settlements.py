"""Takes what a person settled, lets the service decide it, and closes the request with the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from pydantic import ValidationError

from services.runtime.effect import EffectRun
from services.runtime.errors import Halt, PerennialError, Poison, SettlementRefused, Transient
from services.runtime.flow.journal import Journal
from services.runtime.flow.session import Session
from services.runtime.flow.work import Work
from services.runtime.log.event_log import EventLog, LeasedEffect
from services.runtime.log.tables import operator_requests
from services.runtime.log.tables.effects import TO_SETTLE, TO_SETTLE_LOCKED, stored_lease
from services.runtime.logs import Logger
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Effect, Ignored, Processor, Settle, Settlement, Task

_Answer = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Request:
    request_id: UUID
    shard: int
    effect_id: str
    content: str


@dataclass(frozen=True, slots=True)
class _Inquired:
    run: EffectRun
    settle: Settle


class SettlementRequests:
    """Serves the `operator_request` table of one service.

    What the person says is decided as the result of the effect, so it ends with it: nobody does it
    any more, unless the decision asks for another run. A running effect is left to its worker, and
    the request waits until the attempt is over; that of a parked shard until it goes on.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        pool: asyncpg.Pool,
        log: EventLog,
        processor: Processor,
        journal: Journal,
        clock: Callable[[], datetime],
        logger: Logger,
    ) -> None:
        """Decide by `processor`, on `log`, which lies in the database of `pool`."""
        self._pool = pool
        self._log = log
        self._processor = processor
        self._journal = journal
        self._clock = clock
        self._logger = logger

    async def serve(self) -> list[LeasedEffect]:
        """Close every open request, in the order of asking; return effects to be run at once.

        Raises:
            Transient: Postgres does not answer; what is open stays so.
        """
        with transient_when_unwell():
            rows = await self._pool.fetch(operator_requests.OPEN)
        leased: list[LeasedEffect] = []
        for row in rows:
            request = _Request(**dict(row))
            try:
                leased += await self._close(request)
            except (Transient, Halt):
                raise
            except (SettlementRefused, Poison) as refusal:
                await self._answer(request, str(refusal))
            except Exception as error:  # noqa: BLE001 - the other requests must be served
                await self._refuse(request, error)
        return leased

    async def _refuse(self, request: _Request, error: Exception) -> None:
        """Close a request that cannot be decided: asked again as it is, it would fail again."""
        name = type(error).__name__
        self._logger.error(
            "operator_request_failed",
            request_id=str(request.request_id),
            error=name,
            exc_info=error,
        )
        answer = f"{name} while deciding it: nothing was recorded. Ask again with other values"
        if isinstance(error, PerennialError):
            answer = str(error)
        await self._answer(request, answer)

    async def _answer(self, request: _Request, refusal: str) -> None:
        with transient_when_unwell():
            await self._pool.execute(
                operator_requests.CLOSE, request.request_id, "refused", refusal
            )

    async def _inquired(self, request: _Request) -> _Inquired | None:
        """Ask the other side about what the operator says, before anything is locked; None: no inquiry.

        Raises:
            SettlementRefused: this version does not know what was asked.
        """
        with transient_when_unwell():
            effect = await self._pool.fetchrow(TO_SETTLE, request.shard, request.effect_id)
        if effect is None or effect["running"]:
            return None
        run = stored_lease(effect).run
        inquire = self._effect(run.kind).inquire
        if inquire is None or request.shard in {each.shard for each in await self._log.parkings()}:
            return None
        return _Inquired(run, await inquire(_settlement(request), run))

    async def _close(self, request: _Request) -> list[LeasedEffect]:
        inquired = await self._inquired(request)
        transaction = self._log.transaction(shards={request.shard})
        async with self._journal.session(transaction) as session:
            connection, now = session.tx.connection, self._clock()
            if not await connection.fetchval(operator_requests.STILL_OPEN, request.request_id):
                return []
            if session.tx.heads[request.shard].parked:
                return []
            answer = await self._decide(session, request, inquired, now)
            if answer is None:
                return []
            recorded = await session.flush(now)
            await connection.execute(operator_requests.CLOSE, request.request_id, *answer)
        return recorded.leased

    def _effect(self, kind: str) -> Effect:
        """Return the effect of a kind.

        Raises:
            SettlementRefused: this version has none.
        """
        if (effect := self._processor.effects.get(kind)) is None:
            message = f"this version knows no effect {kind}: deploy the one that wanted it"
            raise SettlementRefused(message)
        return effect

    async def _decide(
        self,
        session: Session,
        request: _Request,
        inquired: _Inquired | None,
        now: datetime,
    ) -> _Answer | None:
        """Decide one request; return None as long as its effect runs, or ran since the inquiry."""
        effect = await session.tx.connection.fetchrow(
            TO_SETTLE_LOCKED, request.shard, request.effect_id
        )
        if effect is None:
            return "refused", "the effect has finished meanwhile: see the timeline of its order"
        if effect["running"]:
            return None
        leased = stored_lease(effect)
        kind = self._effect(leased.run.kind)
        settle = kind.settle
        if kind.inquire is not None:
            if inquired is None or inquired.run != leased.run:
                return None
            settle = inquired.settle
        if settle is None:
            return (
                "refused",
                f"nobody can settle a {leased.run.kind}: it goes on until its deadline",
            )
        work = _work(request, leased, settle(_settlement(request), leased.run, now))
        await session.load([work])
        outcome = await session.apply(work, now)
        if isinstance(outcome, Ignored):
            return "ignored", outcome.reason.value
        return "applied", ", ".join(type(event).__name__ for event in outcome.events)


def _settlement(request: _Request) -> Settlement:
    try:
        return Settlement.model_validate_json(request.content)
    except ValidationError:
        message = "this version does not know what was asked: use its own command"
        raise SettlementRefused(message) from None


def _work(request: _Request, effect: LeasedEffect, command: object) -> Work:
    origin = effect.origin
    return Work(
        task=Task(origin.stream_id, command),
        shard=request.shard,
        account_id=origin.account_id,
        cause=f"request/{request.request_id}",
        cause_event_id=request.request_id,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
        effect=effect,
        by_person=True,
    )

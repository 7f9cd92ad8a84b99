"""Parked shards: which wait and why, what a person asks, and how they go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg

from services.runtime.errors import Park, Poison
from services.runtime.flow.letters.dead_letters import DeadLetterTable, StoredDeadLetter
from services.runtime.log.event_log import EventLog, LeasedEffect, TopicPartition
from services.runtime.log.tables import cursors, dead_letters, parked_shards
from services.runtime.logs import Logger
from services.runtime.postgres.errors import transient_when_unwell

if TYPE_CHECKING:
    # The command line reads parked shards, and needs neither.
    from services.runtime.flow.intake.intake import Intake
    from services.runtime.flow.letters.rereading import Originals

RESUMED: Final = "resumed"


@dataclass(frozen=True, slots=True)
class ParkedShard:
    """A row of `parked_shard`: why, and what was asked and answered. Open until `resumed_at`."""

    parking_id: int
    shard: int
    reason: str
    detail: str
    topic: str | None
    partition: int | None
    record_offset: int | None
    event_id: UUID | None
    event_type: str | None
    source: str | None
    sequence: int | None
    parked_at: datetime
    resume_asked_at: datetime | None
    resume_reason: str | None
    set_aside: bool
    resume_answer: str | None
    resumed_at: datetime | None

    @property
    def place(self) -> TopicPartition | None:
        """The partition of the record that it waits for, where there is one."""
        if self.topic is None or self.partition is None:
            return None
        return self.topic, self.partition


class ParkedShardTable:
    """The `parked_shard` table of one service."""

    def __init__(self, pool: asyncpg.Pool | asyncpg.Connection) -> None:
        """Work on `pool`, whose search_path begins with the service's schema."""
        self._pool = pool

    async def listed(self, *, include_resumed: bool = False) -> list[ParkedShard]:
        """Return the parked shards, the longest parked first."""
        return await self._fetch("WHERE $1 OR resumed_at IS NULL", include_resumed)

    async def one(self, parking_id: int) -> ParkedShard | None:
        found = await self._fetch("WHERE parking_id = $1", parking_id)
        return found[0] if found else None

    async def ask(
        self, shards: Sequence[int] | None, reason: str, *, set_aside: bool
    ) -> list[ParkedShard]:
        """Ask the running service to go on with these shards, or all; return what is parked."""
        with transient_when_unwell():
            rows = await self._pool.fetch(
                parked_shards.ASK,
                None if shards is None else list(shards),
                reason,
                set_aside,
            )
        return [ParkedShard(**dict(row)) for row in rows]

    async def asked(self) -> list[ParkedShard]:
        """Return the shards that shall go on."""
        return await self._fetch("WHERE resumed_at IS NULL AND resume_asked_at IS NOT NULL")

    async def refuse(self, parking_id: int, answer: str) -> None:
        """Leave a shard parked, and say why."""
        with transient_when_unwell():
            await self._pool.execute(
                parked_shards.REFUSE,
                parking_id,
                answer[:500],
            )

    async def cursor(self, place: TopicPartition) -> int | None:
        """Return the offset that is handled next in a partition."""
        with transient_when_unwell():
            offset: int | None = await self._pool.fetchval(cursors.ONE, *place)
        return offset

    async def _fetch(self, condition: str, *arguments: object) -> list[ParkedShard]:
        with transient_when_unwell():
            rows = await self._pool.fetch(parked_shards.listed(condition), *arguments)
        return [ParkedShard(**dict(row)) for row in rows]


class ResumeRequests:
    """Lets parked shards go on when a person asks for it.

    What waited in other partitions comes first, in the order it arrived; then the shard's own
    partitions are read again from their cursors, and what fails again parks it again.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        table: ParkedShardTable,
        dead_letters: DeadLetterTable,
        originals: Originals,
        log: EventLog,
        intake: Intake,
        step_over: Callable[[ParkedShard], Awaitable[None]],
        logger: Logger,
    ) -> None:
        """Serve `table`; `step_over` moves the cursor of a partition where that was asked."""
        self._table = table
        self._dead_letters = dead_letters
        self._originals = originals
        self._log = log
        self._intake = intake
        self._step_over = step_over
        self._logger = logger

    async def serve(self) -> list[LeasedEffect]:
        """Answer everything that is asked; return effects to be run at once.

        Raises:
            Transient: Postgres or Kafka does not answer; what is asked stays so.
        """
        leased: list[LeasedEffect] = []
        for parked in await self._table.asked():
            try:
                await self._step_over(parked)
                leased += await self._go_on(parked)
            except (Park, Poison) as refusal:
                await self._table.refuse(parked.parking_id, str(refusal))
        return leased

    async def _go_on(self, parked: ParkedShard) -> list[LeasedEffect]:
        leased: list[LeasedEffect] = []
        while True:
            for letter in await self._dead_letters.waiting_for(parked.shard):
                leased += await self._redrive(letter)
            async with self._log.transaction(shards={parked.shard}) as tx:
                if not await tx.connection.fetchval(dead_letters.WAITING, parked.shard):
                    await tx.unpark(parked.shard, RESUMED)
                    break
        self._logger.info("shard_resumed", shard=parked.shard, reason=parked.reason)
        return leased

    async def _redrive(self, letter: StoredDeadLetter) -> list[LeasedEffect]:
        try:
            result = await self._intake.redrive(await self._originals.record(letter), resuming=True)
        except Poison as poison:
            await self._dead_letters.failed_again(letter.dead_letter_id, poison.reason, str(poison))
            return []
        outcome: Any = next(iter(result.outcomes), "")
        await self._dead_letters.close(letter.dead_letter_id, "redriven", outcome)
        return result.leased

"""Moves the cursor of a parked shard: past what a person sets aside, or on to what was missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.runtime.errors import Park, Poison
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.ordering import SEQUENCE_GAP
from services.runtime.flow.letters.rereading import reading
from services.runtime.flow.operator.parking import ParkedShard
from services.runtime.log.event_log import EventLog, TopicPartition
from services.runtime.settings import KafkaSettings

SET_ASIDE: Final = "set_aside"


class Stepping:
    """Serves what a person asks beyond "try again". Without such, a parked shard keeps its cursors."""

    def __init__(
        self,
        *,
        settings: KafkaSettings,
        log: EventLog,
        intake: Intake,
        clock: Callable[[], datetime],
    ) -> None:
        """Read the topics of `settings`, and move cursors in `log`."""
        self._settings = settings
        self._log = log
        self._intake = intake
        self._clock = clock

    async def step(self, parked: ParkedShard) -> None:
        """Move the cursor where that was asked, or where what was missing lies further on.

        Raises:
            Park: it cannot be moved, and why.
            Transient: Kafka or Postgres does not answer.
        """
        place, offset = parked.place, parked.record_offset
        if parked.set_aside:
            if place is None or offset is None or place[1] != parked.shard:
                message = "no record of its own partitions parked this shard: resume without it"
                raise Park(SET_ASIDE, message)
            await self._set_aside(parked, place, offset)
        elif parked.reason == SEQUENCE_GAP and place is not None and parked.source is not None:
            await self._find_missing(parked, place, parked.source)

    async def _set_aside(self, parked: ParkedShard, place: TopicPartition, offset: int) -> None:
        async with reading(self._settings, place, offset) as records:
            record = await anext(records, None)
        if record is None or record.offset != offset:
            message = f"{place[0]}/{place[1]} no longer holds the record at {offset}"
            raise Park(SET_ASIDE, message)
        poison = Poison(SET_ASIDE, f"{parked.reason}: {parked.resume_reason}")
        async with self._log.transaction(partitions={place}, shards={parked.shard}) as tx:
            if tx.next_offsets.get(place) != offset:
                message = f"the cursor is no longer at {offset}: resume without setting aside"
                raise Park(SET_ASIDE, message)
            await tx.add_dead_letters([self._intake.dead_letter(record, poison, self._clock())])
            tx.move_cursor(place, offset + 1)

    async def _find_missing(self, parked: ParkedShard, place: TopicPartition, source: str) -> None:
        """Go on where the missing event was published again, and all that came behind it too."""
        shard = parked.shard
        async with self._log.transaction(
            partitions={place}, shards={shard}, sources={(source, shard)}
        ) as tx:
            last = tx.last_sequences.get((source, shard))
            first = tx.next_offsets[place]
        wanted = (last.sequence if last else 0) + 1
        found, passed, again = await self._look_ahead(place, first, source, wanted)
        if found is None or again < passed:
            missing = wanted if found is None else passed
            message = (
                f"event {missing} of {source} is not on {place[0]}/{place[1]} behind {first}: have "
                "its service publish it again (`perennial recover republish`), then resume"
            )
            raise Park(SEQUENCE_GAP, message)
        async with self._log.transaction(partitions={place}, shards={shard}) as tx:
            if tx.next_offsets[place] == first:
                tx.move_cursor(place, found)

    async def _look_ahead(
        self, place: TopicPartition, first: int, source: str, wanted: int
    ) -> tuple[int | None, int, int]:
        """Return where event `wanted` lies, and the highest number before it and from it on."""
        found, passed, again = None, 0, 0
        async with reading(self._settings, place, first) as records:
            async for record in records:
                envelope = self._intake.ordered(record)
                if envelope is None or envelope.source != source:
                    continue
                sequence = envelope.sequence or 0
                if found is None and sequence == wanted:
                    found = record.offset
                if found is None:
                    passed = max(passed, sequence)
                else:
                    again = max(again, sequence)
        return found, passed, again

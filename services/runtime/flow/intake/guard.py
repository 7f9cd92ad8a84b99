"""Handles a batch so that a record that cannot be handled stops only its own shard.

A record of an upstream that fails is dead-lettered. An event of our own services that fails, or
whose place in its shard is not the next one, parks its shard: the partitions of that number stand
still, and all others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, Final

from services.runtime.errors import Halt, Park, Poison, Transient, VersionConflict
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.ordering import SEQUENCE_GAP
from services.runtime.flow.intake.result import IntakeResult
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.log.event_log import EventLog, Parking, TopicPartition
from services.runtime.logs import Logger

ATTEMPTS_MAX: Final = 3
"""A record that raises something unforeseen is tried this often."""
CONFLICTS_MAX: Final = 5
"""Another writer can be first again and again, but not with the same records each time."""
HANDLER_ERROR: Final = "handler_error"
VERSION_CONFLICT: Final = "version_conflict"
_Place = tuple[str, int, int]


async def _trusted() -> None:
    """Trust the topics."""


class ShardGuard:
    """Handles batches through an intake; parks shards, and never ends the process for one of them."""

    def __init__(
        self,
        *,
        log: EventLog,
        intake: Intake,
        logger: Logger,
        on_parked: Callable[[Parking], None] = lambda _: None,
        confirm_topics: Callable[[], Awaitable[None]] = _trusted,
    ) -> None:
        """Park in `log`. `confirm_topics` raises `Halt` when a topic is not the one that is known."""
        self._log = log
        self._intake = intake
        self._logger = logger
        self._on_parked = on_parked
        self._confirm_topics = confirm_topics
        self._failures: Counter[_Place] = Counter()
        self._conflicts: Counter[_Place] = Counter()

    async def handle(self, records: Sequence[Record]) -> IntakeResult:
        """Handle one batch.

        Raises:
            Transient: deliver the same records again later.
            Halt: going on would be wrong for every shard.
        """
        result = IntakeResult()
        try:
            await self._handle(records, result)
        except Transient:
            if not result.outcomes:
                raise
            # What is recorded leaves effects to be started; what is not comes again.
            cursors = await self._log.cursors()
            for record in records:
                place = record.topic, record.partition
                result.seeks.setdefault(place, cursors[place])
        return result

    async def _handle(self, records: Sequence[Record], result: IntakeResult) -> None:
        try:
            await self._parking_what_is_named(records, result)
        except VersionConflict:
            if len(records) > 1 and not self._conflicts_go_on(records):
                await self._piecemeal(records, result)
                return
            raise
        except (Transient, Halt):
            raise
        except Exception as error:
            self._logger.warning(
                "batch_taken_apart",
                records=len(records),
                error=type(error).__name__,
                exc_info=not isinstance(error, Park),
            )
            await self._piecemeal(records, result)
        else:
            self._conflicts.clear()

    async def _parking_what_is_named(self, records: Sequence[Record], result: IntakeResult) -> None:
        """Handle the batch up to a record that parks its shard, then the rest without that shard."""
        while records:
            try:
                result.add(await self._intake.handle(records))
            except Park as park:
                if park.record is None:
                    raise
                before, culprit, behind = _split(records, park.record)
                await self._parking_what_is_named(before, result)
                await self._give_up(culprit, park, result)
                place = culprit.topic, culprit.partition
                records = [] if place in result.seeks else behind
            else:
                return

    async def _piecemeal(self, records: Sequence[Record], result: IntakeResult) -> None:
        """Handle a batch that fails without naming a record: partition by partition, then singly.

        Raises:
            Transient: some of it must come again; the rest is recorded.
        """
        comes_again: Transient | None = None
        for place, found in groupby(
            sorted(records, key=lambda each: (each.topic, each.partition)),
            key=lambda each: (each.topic, each.partition),
        ):
            try:
                await self._part(place, list(found), result)
            except Transient as error:
                comes_again = error
        if comes_again is not None:
            raise comes_again

    async def _part(self, place: TopicPartition, part: list[Record], result: IntakeResult) -> None:
        try:
            await self._parking_what_is_named(part, result)
        except VersionConflict:
            pass
        except (Halt, Transient):
            raise
        except Exception:  # noqa: BLE001, S110 - found out singly, next
            pass
        else:
            return
        for record in part:
            await self._single(record, result)
            if place in result.seeks:
                return

    async def _single(self, record: Record, result: IntakeResult) -> None:
        place = record.topic, record.partition, record.offset
        try:
            await self._parking_what_is_named([record], result)
        except VersionConflict as error:
            if self._conflicts_go_on([record]):
                raise
            message = (
                f"{error}, {CONFLICTS_MAX} times in a row: the log holds events that its head does "
                "not know of. See docs/OPERATIONS.md before `perennial shards resume`"
            )
            await self._give_up(record, Park(VERSION_CONFLICT, message), result)
        except (Transient, Halt):
            raise
        except Park as park:
            await self._give_up(record, park, result)
        except Exception as error:
            self._failures[place] += 1
            name = type(error).__name__
            if self._failures[place] < ATTEMPTS_MAX:
                message = f"{name} while handling {place}: trying again"
                raise Transient(message) from error
            del self._failures[place]
            message = f"{name} in {ATTEMPTS_MAX} attempts: deploy a version that handles it"
            if self._intake.ordered(record) is not None:
                await self._give_up(record, Park(HANDLER_ERROR, message), result)
            else:
                result.add(await self._intake.refuse(record, Poison("handler_error", message)))

    async def _give_up(self, record: Record, park: Park, result: IntakeResult) -> None:
        """Park the shard of `record`, and leave the record where it waits for it."""
        await self._park(record, park)
        result.add(await self._intake.handle([record]))

    async def _park(self, record: Any, park: Park) -> None:  # noqa: ANN401 - a Record
        if park.reason == SEQUENCE_GAP:
            await self._confirm_topics()
        parking = self._intake.parking(record, park)
        async with self._log.transaction(shards={parking.shard}) as tx:
            await tx.park(parking)
        self._logger.error(
            "shard_parked",
            shard=parking.shard,
            reason=parking.reason,
            topic=parking.topic,
            partition=parking.partition,
            offset=parking.record_offset,
            event_id=str(parking.event_id) if parking.event_id else None,
            event_type=parking.event_type,
            error=parking.detail,
        )
        self._on_parked(parking)

    def _conflicts_go_on(self, records: Sequence[Record]) -> bool:
        """Count a conflict of these records; say whether another attempt may end it."""
        place = records[0].topic, records[0].partition, records[0].offset
        self._conflicts[place] += 1
        return self._conflicts[place] < CONFLICTS_MAX


def _split(
    records: Sequence[Record],
    culprit: Any,  # noqa: ANN401 - a Record
) -> tuple[list[Record], Record, list[Record]]:
    """Return the records that do not lie behind `culprit` in its partition, it, and those that do."""
    before: list[Record] = []
    behind: list[Record] = []
    for record in records:
        same = (record.topic, record.partition) == (culprit.topic, culprit.partition)
        if not same or record.offset < culprit.offset:
            before.append(record)
        elif record.offset > culprit.offset:
            behind.append(record)
    return before, culprit, behind

"""One consumed batch, one transaction: deduplicate, decide, record, dead-letter, move the cursor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Generic

from schemas.envelope import Envelope
from services.runtime.errors import Halt, PerennialError, Poison, Transient
from services.runtime.flow.journal import Journal, Session
from services.runtime.flow.parsing import Parsed, RecordParser
from services.runtime.flow.work import Work
from services.runtime.kafka.cloudevents import Record
from services.runtime.log.event_log import (
    DeadLetter,
    EventLog,
    LastSequence,
    LeasedEffect,
    TopicPartition,
    Transaction,
)
from services.runtime.processor import Decision, Ignored, Processor, StateT
from services.runtime.watch.tracing import UNTRACED, Tracing

SEQUENCE_GAP: Final = "sequence_gap"
HANDLER_ATTEMPTS_MAX: Final = 3
"""A record whose handling raises something unforeseen is tried this often, then dead-lettered."""


class Skipped(StrEnum):
    """Why the runtime itself had nothing to do for a record."""

    DUPLICATE_OFFSET = "duplicate_offset"
    DUPLICATE_SEQUENCE = "duplicate_sequence"
    NOT_HANDLED_HERE = "not_handled_here"


@dataclass(slots=True)
class IntakeResult:
    """What became of a batch. `seeks` are partitions whose consumer must go back to the cursor."""

    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    leased: list[LeasedEffect] = field(default_factory=list)
    seeks: dict[TopicPartition, int] = field(default_factory=dict)


async def _confirmed() -> None:
    """Trust the topics."""


class Intake(Generic[StateT]):
    """Turns batches of records into recorded events. One batch at a time."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        processor: Processor[StateT],
        journal: Journal[StateT],
        shard_count: int,
        dead_letter_limit: int,
        clock: Callable[[], datetime],
        confirm_topics: Callable[[], Awaitable[None]] = _confirmed,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """Serve `processor` on `log`; `clock` gives the time each batch is handled at.

        `confirm_topics` raises `Halt` when what is read is not the topic that the cursors know.
        """
        self._log = log
        self._journal = journal
        self._parser = RecordParser(processor, shard_count)
        self._dead_letter_limit = dead_letter_limit
        self._confirm_topics = confirm_topics
        self._clock = clock
        self._tracing = tracing
        self._sought: dict[TopicPartition, int] = {}
        self._failures: Counter[tuple[str, int, int]] = Counter()

    async def handle(self, records: Sequence[Record]) -> IntakeResult:
        """Handle one batch.

        Raises:
            Transient: nothing was recorded; deliver the same records again later.
            Halt: going on would be wrong (too many dead letters, an event without posting rule).
        """
        partitions = {(record.topic, record.partition) for record in records}
        return await self._record(records, partitions)

    async def redrive(self, record: Record) -> IntakeResult:
        """Handle one dead letter again, outside of any cursor.

        Raises:
            Poison: it still cannot be handled; nothing was recorded.
        """
        return await self._record([record], set())

    def sought(self, partition: TopicPartition, offset: int) -> None:
        """Note that the consumer was really sent to `offset`: what is missing there is a hole."""
        self._sought[partition] = offset

    async def _record(
        self, records: Sequence[Record], partitions: set[TopicPartition]
    ) -> IntakeResult:
        now, trace = self._clock(), self._tracing.batch()
        parsed = trace.begun([self._parser.parse(record, now) for record in records])
        works = [item.work for item in parsed if item.work is not None]
        shards = {work.shard for work in works}
        sources = {
            (item.sequenced.source, item.record.partition)
            for item in parsed
            if item.sequenced is not None
        }
        result = IntakeResult()
        async with (
            trace,
            self._journal.session(
                self._log.transaction(partitions=partitions, shards=shards, sources=sources)
            ) as session,
        ):
            tx = session.tx
            await session.load(works)
            letters: list[DeadLetter] = []
            for item in self._in_sequence(tx, parsed, result) if partitions else parsed:
                try:
                    outcome = self._apply(tx, session, item, now)
                except Poison as poison:
                    if not partitions:
                        raise
                    letters.append(dead_letter(item.record, poison, now))
                    outcome = f"dead_lettered:{poison.reason}"
                result.outcomes[outcome] += 1
            await self._keep_dead_letters(tx, letters)
            trace.writes(session.recorded, letters)
            recorded = await session.flush(now)
        result.events = len(recorded.events)
        result.leased = recorded.leased
        return result

    def _in_sequence(
        self, tx: Transaction, parsed: Sequence[Parsed], result: IntakeResult
    ) -> Iterator[Parsed]:
        """Yield what each cursor expects next; drop duplicates, and stop a partition at a gap."""
        expected = dict(tx.next_offsets)
        behind: dict[TopicPartition, int] = {}
        for item in parsed:
            partition = (item.record.topic, item.record.partition)
            if partition not in expected:
                message = f"no cursor for {partition[0]}/{partition[1]} yet"
                raise Transient(message)
            if partition in result.seeks:
                continue
            offset, wanted = item.record.offset, expected[partition]
            if offset < wanted:
                behind.setdefault(partition, wanted)
                result.outcomes[f"ignored:{Skipped.DUPLICATE_OFFSET}"] += 1
                continue
            if offset > wanted and self._sought.get(partition) != wanted:
                result.seeks[partition] = wanted
                continue
            behind.pop(partition, None)
            # A hole that is still there after a seek to it holds no record of ours: control
            # records of a transactional upstream, or a compacted range.
            expected[partition] = offset + 1
            tx.move_cursor(partition, offset + 1)
            yield item
        # Nothing but duplicates: the consumer starts far behind the cursor, so send it ahead.
        result.seeks |= behind

    def _apply(self, tx: Transaction, session: Session[StateT], item: Parsed, now: datetime) -> str:
        """Handle one record and return its outcome; raise `Poison` when it must be dead-lettered."""
        if item.poison is not None:
            raise item.poison
        partition = item.record.partition
        if item.sequenced is not None and not _is_next(tx, item.sequenced, partition):
            return f"ignored:{Skipped.DUPLICATE_SEQUENCE}"
        outcome: Decision | Ignored
        if item.work is None:
            outcome = item.ignored or Ignored(Skipped.NOT_HANDLED_HERE)
        else:
            outcome = self._decide(session, item.work, item.record, now)
        if item.sequenced is not None:
            last = LastSequence(item.sequenced.sequence or 0, item.sequenced.id)
            tx.move_sequence(item.sequenced.source, partition, last)
        return f"ignored:{outcome.reason}" if isinstance(outcome, Ignored) else "applied"

    def _decide(
        self, session: Session[StateT], work: Work, record: Record, now: datetime
    ) -> Decision | Ignored:
        where = (record.topic, record.partition, record.offset)
        try:
            return session.apply(work, now)
        except PerennialError:
            raise
        except Exception as error:
            self._failures[where] += 1
            if self._failures[where] < HANDLER_ATTEMPTS_MAX:
                message = f"{type(error).__name__} while deciding {where}: trying again"
                raise Transient(message) from error
            del self._failures[where]
            message = f"{type(error).__name__} in {HANDLER_ATTEMPTS_MAX} attempts: fix and redrive"
            raise Poison("handler_error", message) from error

    async def _keep_dead_letters(self, tx: Transaction, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        if any(letter.reason == SEQUENCE_GAP for letter in letters):
            await self._confirm_topics()
        await tx.add_dead_letters(letters)
        still_open = await tx.open_dead_letters()
        if still_open > self._dead_letter_limit:
            reasons = ", ".join(sorted({letter.reason for letter in letters}))
            message = (
                f"{still_open} dead letters would be open and the limit is "
                f"{self._dead_letter_limit} (newest: {reasons}). Consuming stops here; nothing is "
                "skipped. See `perennial dlq list`, then redrive or discard them, or raise "
                "DEAD_LETTER_LIMIT, and start again"
            )
            raise Halt(message)


def _is_next(tx: Transaction, envelope: Envelope, partition: int) -> bool:
    """Say whether a service's event is the next one of its shard; a repeat is not.

    Raises:
        Poison: its sequence jumps ahead, or another event already bears it.
    """
    last = tx.last_sequences.get((envelope.source, partition))
    taken = last.sequence if last else 0
    sequence = envelope.sequence or 0
    if sequence == taken + 1:
        return True
    if sequence > taken + 1:
        message = f"sequence {sequence} of {envelope.source} after {taken}: events are missing"
        raise Poison(SEQUENCE_GAP, message)
    if last is not None and sequence == taken and envelope.id != last.event_id:
        message = f"sequence {sequence} of {envelope.source} is taken by another event"
        raise Poison("sequence_conflict", message)
    return False


def dead_letter(record: Record, poison: Poison, now: datetime) -> DeadLetter:
    """Return the record as it arrived, with why it cannot be handled."""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        record_offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        reason=poison.reason,
        detail=str(poison),
        attempts=1,
        dead_lettered_at=now,
    )

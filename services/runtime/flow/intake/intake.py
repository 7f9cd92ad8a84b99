"""One consumed batch, one transaction: deduplicate, decide, record, dead-letter, move the cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict

from schemas.envelope import Envelope
from services.runtime.authenticity import EventVerifier
from services.runtime.errors import Park, Poison, Transient
from services.runtime.flow.intake.next_offsets import NextOffsets
from services.runtime.flow.intake.ordering import is_next, repeats
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.flow.intake.result import IntakeResult, Skipped
from services.runtime.flow.intake.waiting import SHARD_PARKED, check_parked, stands_still, waits
from services.runtime.flow.journal import Journal
from services.runtime.flow.letters.letter_room import KeepAll, Letters, Place
from services.runtime.flow.letters.letters import RefusedRecord, dead_letter
from services.runtime.flow.pace import shared
from services.runtime.flow.session import Session
from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.flow.work import Parsed, Work
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.log.event_log import (
    DeadLetter,
    EventLog,
    LastSequence,
    Parking,
    TopicPartition,
    Transaction,
)
from services.runtime.processor import Decision, Ignored, Processor


class Poisoned(NamedTuple):
    """A record that cannot be handled, and why."""

    item: Parsed
    poison: Poison


class Intake:
    """Turns batches of records into recorded events. One batch at a time."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        processor: Processor,
        journal: Journal,
        shard_count: int,
        clock: Callable[[], datetime],
        letters: Letters | None = None,
        tracing: Tracing = UNTRACED,
        verifier: EventVerifier | None = None,
    ) -> None:
        """Serve `processor` on `log`; `clock` gives the time each batch is handled at."""
        self._log = log
        self._journal = journal
        self._parser = RecordParser(processor, shard_count, verifier)
        self._topics = processor.events.topics
        self._letters = letters or KeepAll()
        self._clock = clock
        self._tracing = tracing
        self._next = NextOffsets()

    def dead_letter(self, record: Record, poison: Poison, now: datetime) -> DeadLetter:
        """Return what is kept of a record that cannot be handled."""
        return dead_letter(record, poison, now, self._topics)

    async def handle(self, records: Sequence[Record]) -> IntakeResult:
        """Handle one batch.

        Raises:
            Transient: nothing was recorded; deliver the same records again later.
            Park: nothing was recorded; a shard must be parked first. Its record is named unless
                only a batch without the others can tell.
            Halt: going on would be wrong for every shard.
        """
        partitions = {(record.topic, record.partition) for record in records}
        return await self._record(await self._parsed(records), partitions)

    async def refuse(self, record: Record, poison: Poison) -> IntakeResult:
        """Dead-letter a record of an upstream, and go on behind it."""
        item = Parsed(record, poison=poison)
        return await self._record([item], {(record.topic, record.partition)})

    async def redrive(self, record: Record, *, resuming: bool = False) -> IntakeResult:
        """Handle one dead letter again, outside of any cursor.

        Where its shard is parked, it waits, unless it is `resuming`; what is missing in the order
        of the shard does not wait.

        Raises:
            Poison: it still cannot be handled; nothing was recorded.
            Park: likewise, and its shard must stay parked.
        """
        return await self._record(await self._parsed([record]), set(), resuming=resuming)

    def parking(self, record: Record, park: Park) -> Parking:
        """Return which shard waits because of `record`, and what is known of it."""
        parsed = self._parser.parse(record, self._clock())
        incoming = parsed.work.incoming if parsed.work else None
        envelope = parsed.sequenced or (incoming.envelope if incoming else None)
        return Parking(
            shard=parsed.work.shard if parsed.work else record.partition,
            reason=park.reason,
            detail=str(park),
            topic=record.topic,
            partition=record.partition,
            record_offset=record.offset,
            event_id=envelope.id if envelope else None,
            event_type=envelope.type if envelope else None,
            source=envelope.source if envelope else None,
            sequence=envelope.sequence if envelope else None,
        )

    def ordered(self, record: Record) -> Envelope | None:
        """Return the envelope of an event of our own services, whose order counts; else None."""
        return self._parser.parse(record, self._clock()).sequenced

    async def _parsed(self, records: Sequence[Record]) -> list[Parsed]:
        now = self._clock()
        return [self._parser.parse(record, now) async for record in shared(records)]

    def sought(self, partition: TopicPartition, offset: int) -> None:
        """Note that the consumer was really sent to `offset`: what is missing there is a hole."""
        self._next.sought(partition, offset)

    async def _record(
        self, items: list[Parsed], partitions: set[TopicPartition], *, resuming: bool = False
    ) -> IntakeResult:
        trace = self._tracing.batch()
        parsed = trace.begun(items)
        refused = _refused(self._next.expected(parsed)) if partitions else []
        sent = await self._letters.send_ahead(refused, self._clock())
        result = IntakeResult()
        async with (
            trace,
            self._journal.session(self._log.transaction(**_wanted(parsed, partitions))) as session,
        ):
            tx = session.tx
            # Decided and recorded as of the time under the locks: who waited must not date it back.
            now = self._clock()
            parked = frozenset[int]() if resuming else _parked(tx)
            await _load(session, parsed, parked)
            cursors = dict(tx.next_offsets)
            found = self._in_sequence(tx, parsed, parked, cursors, result) if partitions else parsed
            poisoned = await self._decided_in_order(session, found, parked, now, result)
            if poisoned and not partitions:
                raise poisoned[0].poison
            letters = await self._keep(tx, poisoned, now, sent)
            trace.writes(session.recorded, letters)
            recorded = await session.flush(now)
        self._next.committed(cursors)
        result.events = len(recorded.events)
        result.leased = recorded.leased
        return result

    async def _decided_in_order(
        self,
        session: Session,
        items: Iterable[Parsed],
        parked: frozenset[int],
        now: datetime,
        result: IntakeResult,
    ) -> list[Poisoned]:
        """Handle one record after the other, count what became of each; return what is poison.

        Raises:
            Park: as `handle`.
        """
        poisoned = []
        for item in items:
            try:
                check_parked(item, parked)
                outcome = await self._apply(session.tx, session, item, now)
            except Poison as poison:
                poisoned.append(Poisoned(item, poison))
                outcome = f"dead_lettered:{poison.reason}"
            except Park as park:
                park.record = item.record
                raise
            result.outcomes[outcome] += 1
        return poisoned

    async def _keep(
        self,
        tx: Transaction,
        poisoned: Sequence[Poisoned],
        now: datetime,
        sent: Mapping[Place, DeadLetter],
    ) -> list[DeadLetter]:
        """Keep the letters of what is poison; return them, those that wait for a shard first."""
        letters: list[DeadLetter] = []
        waiting: list[DeadLetter] = []
        for item, poison in poisoned:
            place = item.record.topic, item.record.partition, item.record.offset
            letter = sent.get(place) or self.dead_letter(item.record, poison, now)
            if poison.reason == SHARD_PARKED and item.work is not None:
                waiting.append(letter._replace(parked_shard=item.work.shard))
            else:
                letters.append(letter)
        if waiting:
            await tx.add_dead_letters(waiting)
        if letters:
            await self._letters.keep(tx, letters, now, sent)
        return [*waiting, *letters]

    def _in_sequence(
        self,
        tx: Transaction,
        parsed: Sequence[Parsed],
        parked: frozenset[int],
        expected: dict[TopicPartition, int],
        result: IntakeResult,
    ) -> Iterator[Parsed]:
        """Yield what each cursor expects next; drop duplicates, and stop a partition at a gap.

        Moves `expected` on, which begins as the cursors are.
        """
        behind: dict[TopicPartition, int] = {}
        for item in parsed:
            partition = (item.record.topic, item.record.partition)
            if partition not in expected:
                message = f"no cursor for {partition[0]}/{partition[1]} yet"
                raise Transient(message)
            if partition in result.seeks:
                continue
            if stands_still(item, parked):
                result.seeks[partition] = expected[partition]
                result.pauses.add(partition)
                continue
            offset, wanted = item.record.offset, expected[partition]
            if offset < wanted:
                behind.setdefault(partition, wanted)
                result.outcomes[f"ignored:{Skipped.DUPLICATE_OFFSET}"] += 1
                continue
            if not self._next.follows(partition, offset, wanted):
                result.seeks[partition] = wanted
                continue
            behind.pop(partition, None)
            expected[partition] = offset + 1
            tx.move_cursor(partition, offset + 1)
            yield item
        # Nothing but duplicates: the consumer starts far behind the cursor, so send it ahead.
        result.seeks |= behind

    async def _apply(self, tx: Transaction, session: Session, item: Parsed, now: datetime) -> str:
        """Handle one record and return its outcome.

        Raises:
            Poison: it must be dead-lettered. So is a record on a topic of ours that does not show
                that it is ours: it neither moves the order of its shard nor stops it. When it was
                ours after all, the next one shows that it is missing.
            Park: it breaks the order of our own events, or cannot take its place in it.
        """
        partition = item.record.partition
        if item.sequenced is None:
            if item.poison is not None:
                raise item.poison
        elif not is_next(tx, item.sequenced, partition):
            return f"ignored:{Skipped.DUPLICATE_SEQUENCE}"
        elif item.poison is not None:
            raise Park(item.poison.reason, str(item.poison)) from item.poison
        outcome: Decision | Ignored
        if item.work is None:
            outcome = item.ignored or Ignored(Skipped.NOT_HANDLED_HERE)
        else:
            outcome = await self._decided(session, item, item.work, now)
        if item.sequenced is not None:
            last = LastSequence(item.sequenced.sequence or 0, item.sequenced.id)
            tx.move_sequence(item.sequenced.source, partition, last)
        return f"ignored:{outcome.reason}" if isinstance(outcome, Ignored) else "applied"

    async def _decided(
        self, session: Session, item: Parsed, work: Work, now: datetime
    ) -> Decision | Ignored:
        try:
            return await session.apply(self._parser.dated(work, now), now)
        except Poison as poison:
            if item.sequenced is None:
                raise
            raise Park(poison.reason, str(poison)) from poison


class _Wanted(TypedDict):
    """What the transaction of a batch locks and reads."""

    partitions: set[TopicPartition]
    shards: set[int]
    sources: set[tuple[str, int]]


def _wanted(parsed: Sequence[Parsed], partitions: set[TopicPartition]) -> _Wanted:
    shards = {item.work.shard for item in parsed if item.work is not None}
    return {
        "partitions": partitions,
        # A partition stands still with the shard of its number, whatever it holds.
        "shards": shards | {partition for _, partition in partitions},
        "sources": {
            (item.sequenced.source, item.record.partition)
            for item in parsed
            if item.sequenced is not None
        },
    }


def _parked(tx: Transaction) -> frozenset[int]:
    return frozenset(shard for shard, head in tx.heads.items() if head.parked)


async def _load(session: Session, parsed: Sequence[Parsed], parked: frozenset[int]) -> None:
    """Load the streams that are decided on, and the numbers that may have come before."""
    await session.load([item.work for item in parsed if item.work and not waits(item, parked)])
    numbered = [(each.sequenced, each.record.partition) for each in parsed if each.sequenced]
    if again := repeats(session.tx, numbered):
        await session.tx.load_taken(again)


def _refused(parsed: Sequence[Parsed]) -> list[RefusedRecord]:
    """Return the records that no transaction has to be asked about."""
    return [
        RefusedRecord(item.record, item.poison)
        for item in parsed
        if item.poison is not None and item.sequenced is None
    ]

"""Decides commands in order on their streams and records what follows, in one transaction.

The same path serves consumed events (`intake`) and the results of effects (`effects`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic

from schemas.envelope import Event, derived_event_id
from services.runtime.flow.work import ForeignStream, Recorded, Work, refused_stream_id
from services.runtime.log.event_log import (
    StoredEvent,
    Transaction,
    chain_hash,
)
from services.runtime.processor import (
    Decision,
    Drop,
    Ignored,
    Incoming,
    Processor,
    Release,
    Retry,
    Start,
    StateT,
)

CACHED_STREAMS_MAX: Final = 10_000
_EVENTS_PER_DECISION_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Stream(Generic[StateT]):
    """A stream folded up to `stream_version`; `shard` is None while it has no events."""

    shard: int | None
    stream_version: int
    state: StateT


class Journal(Generic[StateT]):
    """Folds, decides and appends for one service, a transaction at a time.

    Stream states are cached per shard and trusted only while the locked head is the one they were
    folded up to: any other writer moves the head, and the shard's cached states are forgotten.
    """

    def __init__(
        self,
        processor: Processor[StateT],
        *,
        on_committed: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        """Serve `processor`; `on_committed` gets the events of each committed transaction once."""
        self._processor = processor
        self._on_committed = on_committed
        self._cache: dict[int, OrderedDict[str, Stream[StateT]]] = {}
        self._cached_heads: dict[int, int] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def session(
        self, transaction: AbstractAsyncContextManager[Transaction]
    ) -> AsyncIterator[Session[StateT]]:
        """Decide inside `transaction` when it is its turn; keep the states that it committed.

        The transactions of a process want the same shards. One that waited in the database for the
        one before it would find its head, but not yet its states.
        """
        async with self._turn:
            async with transaction as tx:
                session = self._open(tx)
                yield session
            self._committed(session)

    def _open(self, tx: Transaction) -> Session[StateT]:
        for shard, head in tx.heads.items():
            if self._cached_heads.get(shard) != head.position:
                self._cache[shard] = OrderedDict()
                self._cached_heads[shard] = head.position
        return Session(self._processor, tx, self._cache)

    def _committed(self, session: Session[StateT]) -> None:
        self._on_committed(session.recorded.facts)
        for shard, head in session.tx.heads.items():
            self._cached_heads[shard] = head.position
            streams = self._cache[shard]
            for stream_id, stream in session.streams.items():
                if stream.shard == shard:
                    streams[stream_id] = stream
                    streams.move_to_end(stream_id)
            while len(streams) > CACHED_STREAMS_MAX // len(self._cache):
                streams.popitem(last=False)


class Session(Generic[StateT]):
    """The decisions of one transaction."""

    def __init__(
        self,
        processor: Processor[StateT],
        tx: Transaction,
        cache: dict[int, OrderedDict[str, Stream[StateT]]],
    ) -> None:
        """Decide on `tx`; `Journal.session` makes it."""
        self._processor = processor
        self.tx = tx
        self._cache = cache
        self.streams: dict[str, Stream[StateT]] = {}
        self.recorded = Recorded()

    async def load(self, works: Sequence[Work]) -> None:
        """Fold every stream that `works` decide on, with one query for those not cached."""
        wanted: set[str] = set()
        for work in works:
            stream_id = work.task.stream_id
            if work.task.stateless or stream_id in self.streams:
                continue
            cached = self._cache[work.shard].get(stream_id)
            if cached is None:
                wanted.add(stream_id)
            else:
                self.streams[stream_id] = cached
        if wanted:
            await self._load_streams(wanted)
        contested = _contested(works)
        refused = {
            refused_stream_id(work)
            for work in works
            if self._is_foreign(work) or work.task.stream_id in contested
        } - self.streams.keys()
        if refused:
            await self._load_streams(refused)

    async def _load_streams(self, stream_ids: set[str]) -> None:
        found = await self.tx.load_streams(stream_ids)
        for stream_id in stream_ids:
            stream = Stream(None, 0, self._processor.initial_state())
            for stored in found.get(stream_id, ()):
                state = self._processor.evolve(stream.state, stored.event())
                stream = Stream(stored.shard, stored.stream_version, state)
            self.streams[stream_id] = stream

    def _is_foreign(self, work: Work) -> bool:
        stream = self.streams.get(work.task.stream_id)
        return stream is not None and stream.shard not in {None, work.shard}

    def apply(self, work: Work, now: datetime) -> Decision | Ignored:
        """Decide one command and stage what follows. Raises what `decide` raises, staging nothing."""
        if work.task.stateless:
            decision = self._processor.decide(work.task.command, self._processor.initial_state())
            self._stage(work, decision, None, "", now)
            return decision
        stream = self.streams[work.task.stream_id]
        if not self._is_foreign(work):
            decision = self._processor.decide(work.task.command, stream.state)
            self._stage(work, decision, stream, work.task.stream_id, now)
            return decision
        # The id belongs to an account of another shard, whose stream we have not locked: the
        # refusal goes to a stream of its own, which also shows when it was already given.
        refused_id = refused_stream_id(work)
        if self.streams[refused_id].stream_version:
            return Ignored(ForeignStream.ALREADY_REFUSED)
        decision = self._processor.decide(work.task.command, stream.state)
        self._stage(work, decision, self.streams[refused_id], refused_id, now)
        return decision

    def _stage(
        self,
        work: Work,
        decision: Decision | Ignored,
        stream: Stream[StateT] | None,
        stream_id: str,
        now: datetime,
    ) -> None:
        if work.incoming is not None:
            self.recorded.handled.append(work.incoming)
            if self._processor.records_incoming:
                stream = self._record_incoming(work, work.incoming, stream, stream_id, now)
        events = decision.events if isinstance(decision, Decision) else ()
        numbers: dict[str, int] = {}
        first = (work.effect.run.attempt if work.effect else 0) * _EVENTS_PER_DECISION_MAX
        for event in events:
            event_type = event.wire_type()
            n = numbers[event_type] = numbers.get(event_type, -1) + 1
            head = self.tx.heads[work.shard]
            stored = StoredEvent(
                shard=work.shard,
                position=head.position + 1,
                stream_id=stream_id or work.task.stream_id,
                stream_version=(stream.stream_version if stream else 0) + 1,
                event_id=derived_event_id(work.cause_event_id, event_type, first + n),
                source=self._processor.source,
                type=event_type,
                sequence=head.sequence + 1,
                account_id=work.account_id,
                correlation_id=work.correlation_id,
                causation_id=work.cause_event_id,
                traceparent=work.traceparent,
                occurred_at=now,
                recorded_at=now,
                body=event.body(),
            )
            head.sequence += 1
            stream = self._push(stored, event, stream)
        self._stage_effects(work, decision)
        if stream is not None:
            self.streams[stream_id] = stream

    def _record_incoming(
        self,
        work: Work,
        incoming: Incoming,
        stream: Stream[StateT] | None,
        stream_id: str,
        now: datetime,
    ) -> Stream[StateT] | None:
        envelope = incoming.envelope
        stored = StoredEvent(
            shard=work.shard,
            position=self.tx.heads[work.shard].position + 1,
            stream_id=stream_id or envelope.subject or work.task.stream_id,
            stream_version=stream.stream_version + 1 if stream else envelope.streamversion or 1,
            event_id=envelope.id,
            source=envelope.source,
            type=envelope.type,
            sequence=envelope.sequence or 0,
            account_id=work.account_id,
            correlation_id=work.correlation_id,
            causation_id=envelope.causationid,
            traceparent=envelope.traceparent,
            occurred_at=envelope.time,
            recorded_at=now,
            body=incoming.body,
        )
        return self._push(stored, incoming.event, stream)

    def _push(
        self, stored: StoredEvent, event: Event, stream: Stream[StateT] | None
    ) -> Stream[StateT] | None:
        """Chain `stored` to its shard, and fold `event` into the stream's state."""
        head = self.tx.heads[stored.shard]
        stored = stored._replace(hash=chain_hash(head.hash, stored))
        head.position, head.hash = stored.position, stored.hash
        self.recorded.events.append(stored)
        self.recorded.facts.append(event)
        if stream is None:
            return None
        state = self._processor.evolve(stream.state, event)
        return Stream(stored.shard, stored.stream_version, state)

    def _stage_effects(self, work: Work, decision: Decision | Ignored) -> None:
        recorded = self.recorded
        retried = False
        for change in decision.effects if isinstance(decision, Decision) else ():
            match change:
                case Start():
                    recorded.starts.append((work.origin(), change))
                case Release():
                    recorded.releases.append((work.shard, change))
                case Drop():
                    recorded.drops.append((work.shard, change.hold_key))
                case Retry() if work.effect is not None:
                    recorded.retries.append(((work.shard, work.effect.run.effect_id), change))
                    retried = True
                case Retry():
                    message = "Retry was decided for a command that no effect made"
                    raise TypeError(message)
        if work.effect is not None and not retried:
            recorded.finished.append((work.shard, work.effect.run.effect_id))

    async def flush(self, now: datetime) -> Recorded:
        """Write everything staged; the caller commits. Effects due at once come back leased."""
        recorded, tx = self.recorded, self.tx
        await tx.append(recorded.events)
        await tx.finish_effects(recorded.finished)
        for effect, retry in recorded.retries:
            await tx.reschedule_effect(
                effect, due_at=retry.due_at, payload=retry.payload, hold_key=retry.hold_key
            )
        recorded.leased += await tx.start_effects(recorded.starts, now=now)
        recorded.leased += await tx.release_effects(recorded.releases, now=now)
        await tx.drop_effects(recorded.drops)
        if self._processor.project is not None:
            await self._processor.project(tx, recorded.events, recorded.handled)
        return recorded


def _contested(works: Sequence[Work]) -> set[str]:
    """Return the streams that accounts of several shards ask for; the first of them will own it."""
    shards: dict[str, int] = {}
    return {
        work.task.stream_id
        for work in works
        if shards.setdefault(work.task.stream_id, work.shard) != work.shard
    }

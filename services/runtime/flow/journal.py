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
from typing import Any, Final, Generic

from schemas.envelope import Event, derived_event_id
from services.runtime.effect import Drop, Release, Retry, Start
from services.runtime.flow.log_ends import in_the_log, positions_of, refuse_lost
from services.runtime.flow.pace import shared
from services.runtime.flow.work import (
    ForeignStream,
    Recorded,
    Work,
    contested,
    folded,
    refused_stream_id,
)
from services.runtime.log.event_log import LogEnd, StoredEvent, Transaction, chain_hash
from services.runtime.processor import Decision, Ignored, Incoming, Processor, StateT

CACHED_STREAMS_MAX: Final = 10_000
CACHED_EVENTS_MAX: Final = 400_000
"""What a state keeps grows with the events behind it, so a long stream takes the room of many."""
_FOLDED_AT_ONCE_MAX: Final = 100
"""Some milliseconds: then whoever else waits for the loop comes first."""


@dataclass(frozen=True, slots=True)
class Stream(Generic[StateT]):
    """A stream folded up to `stream_version`; `shard` is None while it has no events."""

    shard: int | None
    stream_version: int
    state: StateT


class Journal:
    """Folds, decides and appends for one service, a transaction at a time.

    Stream states are cached per shard and trusted only while the locked head is the one they were
    folded up to: any other writer moves the head, and the shard's cached states are forgotten. So
    they are when events of the shard leave for files.
    """

    def __init__(
        self,
        processor: Processor,
        *,
        on_committed: Callable[[Recorded], None] = lambda _: None,
    ) -> None:
        """Serve `processor`; `on_committed` gets what each committed transaction recorded, once."""
        self._processor = processor
        self._on_committed = on_committed
        self._cache: dict[int, OrderedDict[str, Stream[Any]]] = {}
        self._cached_events: dict[int, int] = {}
        self.heads: dict[int, LogEnd] = {}
        self._archived: dict[int, int] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def session(
        self, transaction: AbstractAsyncContextManager[Transaction]
    ) -> AsyncIterator[Session]:
        """Decide inside `transaction` when it is its turn; keep the states that it committed.

        The transactions of a process want the same shards. One that waited in the database for the
        one before it would find its head, but not yet its states.
        """
        async with self._turn:
            async with transaction as tx:
                session = await self._open(tx)
                yield session
            self._committed(session)

    async def _open(self, tx: Transaction) -> Session:
        """Trust what is cached where the log still ends as we left it, and nothing that went back.

        Raises:
            Halt: what we committed is not there any more.
        """
        moved = {
            shard: known
            for shard, head in tx.heads.items()
            if (known := self.heads.get(shard)) != LogEnd(head.position, head.hash)
            or self._archived[shard] != head.archived
        }
        self._archived |= {shard: head.archived for shard, head in tx.heads.items()}
        left = {shard: known for shard, known in moved.items() if known is not None}
        if left := in_the_log(left, self._archived):
            refuse_lost(left, await tx.hashes_at(positions_of(left)))
        for shard in moved:
            self._cache[shard] = OrderedDict()
            self._cached_events[shard] = 0
            self.heads[shard] = LogEnd(tx.heads[shard].position, tx.heads[shard].hash)
        return Session(self._processor, tx, self._cache)

    def _committed(self, session: Session) -> None:
        self._on_committed(session.recorded)
        for shard, head in session.tx.heads.items():
            self.heads[shard] = LogEnd(head.position, head.hash)
            streams = self._cache[shard]
            for stream_id, stream in session.streams.items():
                if stream.shard == shard:
                    before = streams.get(stream_id)
                    grown = stream.stream_version - (before.stream_version if before else 0)
                    self._cached_events[shard] += grown
                    streams[stream_id] = stream
                    streams.move_to_end(stream_id)
            while len(streams) > 1 and (
                len(streams) > CACHED_STREAMS_MAX // len(self._cache)
                or self._cached_events[shard] > CACHED_EVENTS_MAX // len(self._cache)
            ):
                self._cached_events[shard] -= streams.popitem(last=False)[1].stream_version


class Session:
    """The decisions of one transaction."""

    def __init__(
        self,
        processor: Processor,
        tx: Transaction,
        cache: dict[int, OrderedDict[str, Stream[Any]]],
    ) -> None:
        """Decide on `tx`; `Journal.session` makes it."""
        self._processor = processor
        self._kinds = processor.streams
        self.tx = tx
        self._cache = cache
        self.streams: dict[str, Stream[Any]] = {}
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
        wanted_twice = contested(works)
        refused = {
            refused_stream_id(work)
            for work in works
            if self._is_foreign(work) or work.task.stream_id in wanted_twice
        } - self.streams.keys()
        if refused:
            await self._load_streams(refused)

    async def _load_streams(self, stream_ids: set[str]) -> None:
        found = await self.tx.load_streams(stream_ids)
        for stream_id in stream_ids:
            kind = self._kinds.kind_of(stream_id)
            stream = Stream(None, 0, kind.initial_state())
            async for stored in shared(found.get(stream_id, ()), _FOLDED_AT_ONCE_MAX):
                state = folded(kind, stream.state, stored, self._processor.events)
                stream = Stream(stored.shard, stored.stream_version, state)
            self.streams[stream_id] = stream

    def _is_foreign(self, work: Work) -> bool:
        stream = self.streams.get(work.task.stream_id)
        return stream is not None and stream.shard not in {None, work.shard}

    def apply(self, work: Work, now: datetime) -> Decision | Ignored:
        """Decide one command and stage what follows. Raises what `decide` raises, staging nothing."""
        if work.task.stateless:
            decision = self._processor.decide_stateless(work.task.command)
            self._stage(work, decision, None, work.task.stream_id, now)
            return decision
        stream = self.streams[work.task.stream_id]
        kind = self._kinds.kind_of(work.task.stream_id)
        if not self._is_foreign(work):
            decision = kind.decide(work.task.command, stream.state)
            self._stage(work, decision, stream, work.task.stream_id, now)
            return decision
        # The id belongs to an account of another shard, whose stream we have not locked: the
        # refusal goes to a stream of its own, which also shows when it was already given.
        refused_id = refused_stream_id(work)
        if self.streams[refused_id].stream_version:
            return Ignored(ForeignStream.ALREADY_REFUSED)
        decision = kind.decide(work.task.command, stream.state)
        self._stage(work, decision, self.streams[refused_id], refused_id, now)
        return decision

    def _stage(
        self,
        work: Work,
        decision: Decision | Ignored,
        stream: Stream[Any] | None,
        stream_id: str,
        now: datetime,
    ) -> None:
        if work.incoming is not None:
            self.recorded.handled.append(work.incoming)
            if self._processor.records_incoming:
                stream = self._record_incoming(work, work.incoming, stream, stream_id, now)
        events = decision.events if isinstance(decision, Decision) else ()
        apart = isinstance(decision, Decision) and decision.apart
        for event in events:
            event_type = event.wire_type()
            version = (stream.stream_version if stream else 0) + 1
            head = self.tx.heads[work.shard]
            stored = StoredEvent(
                shard=work.shard,
                position=head.position + 1,
                stream_id=stream_id,
                stream_version=version,
                event_id=derived_event_id(work.cause, event_type, stream_id, version),
                source=self._processor.source,
                type=event_type,
                sequence=head.sequence + 1,
                account_id=work.account_id,
                correlation_id=str(work.cause_event_id) if apart else work.correlation_id,
                causation_id=work.cause_event_id,
                traceparent=work.traceparent,
                occurred_at=now,
                recorded_at=max(now, head.recorded_at),
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
        stream: Stream[Any] | None,
        stream_id: str,
        now: datetime,
    ) -> Stream[Any] | None:
        envelope = incoming.envelope
        stored = StoredEvent(
            shard=work.shard,
            position=self.tx.heads[work.shard].position + 1,
            stream_id=stream_id,
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
            recorded_at=max(now, self.tx.heads[work.shard].recorded_at),
            body=incoming.body,
        )
        return self._push(stored, incoming.event, stream)

    def _push(
        self, stored: StoredEvent, event: Event, stream: Stream[Any] | None
    ) -> Stream[Any] | None:
        """Chain `stored` to its shard, and fold `event` into the stream's state."""
        head = self.tx.heads[stored.shard]
        stored = stored._replace(hash=chain_hash(head.hash, stored))
        head.position, head.hash = stored.position, stored.hash
        head.recorded_at = stored.recorded_at
        self.recorded.events.append(stored)
        self.recorded.facts.append(event)
        if stream is None:
            return None
        state = self._kinds.kind_of(stored.stream_id).evolve(stream.state, event)
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
        await tx.release_effects(recorded.releases, now=now)
        await tx.drop_effects(recorded.drops)
        recorded.leased += await tx.write_staged()
        if self._processor.project is not None:
            await self._processor.project(tx, recorded.filed(), recorded.handled)
        return recorded

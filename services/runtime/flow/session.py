"""One unit of work: decides commands on their streams and stages what follows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple

from schemas.envelope import Event, derived_event_id
from services.runtime.effect import Drop, Release, Retry, Start
from services.runtime.flow.pace import shared
from services.runtime.flow.sending import all_or_nothing, deliver
from services.runtime.flow.work import (
    ForeignStream,
    Recorded,
    Work,
    contested,
    folded,
    refused_stream_id,
)
from services.runtime.log.event_log import StoredEvent, Transaction, chain_hash
from services.runtime.processor import Decision, Ignored, Incoming, Processor, StateT

_FOLDED_AT_ONCE_MAX: Final = 100
"""Some milliseconds: then whoever else waits for the loop comes first."""


@dataclass(frozen=True, slots=True)
class Stream(Generic[StateT]):
    """A stream folded up to `stream_version`; `shard` is None while it has no events."""

    shard: int | None
    stream_version: int
    state: StateT


class _Decided(NamedTuple):
    """What was decided, and the stream that it goes to: none where it was decided before."""

    decision: Decision | Ignored
    stream_id: str | None
    stream: Stream[Any] | None


class Session:
    """The decisions of one transaction."""

    def __init__(
        self,
        processor: Processor,
        tx: Transaction,
        cache: dict[int, OrderedDict[str, Stream[Any]]],
        shard_of: Callable[[str], int],
    ) -> None:
        """Decide on `tx`; `Journal.session` makes it."""
        self._shard_of = shard_of
        self._processor = processor
        self._kinds = processor.streams
        self.tx = tx
        self._cache = cache
        self.streams: dict[str, Stream[Any]] = {}
        self._replaced: dict[str, Stream[Any]] = {}
        self.recorded = Recorded()

    async def load(self, works: Sequence[Work]) -> None:
        """Fold every stream that `works` decide on, with one query for those not cached."""
        wanted: set[str] = set()
        for work in works:
            task = work.task
            for stream_id in task.beside if task.stateless else (task.stream_id, *task.beside):
                if stream_id in self.streams:
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

    async def apply(self, work: Work, now: datetime) -> Decision | Ignored:
        """Decide one command and stage what follows. Raises what `decide` raises, staging nothing.

        What the decision sends within the shard is decided, too.

        Raises:
            EndlessSends: there is no end to what is sent.
        """
        decided = self._decide(work)
        if not isinstance(decided.decision, Decision) or not decided.decision.sends:
            self._stage(work, decided, now)
            return decided.decision
        self._replaced.clear()
        try:
            with all_or_nothing(self.tx.heads[work.shard], self.recorded):
                self._stage(work, decided, now)
                await deliver(
                    work,
                    decided.decision,
                    shard_of=self._shard_of,
                    load=self.load,
                    decide=lambda sent: self._stage(sent, self._decide(sent), now),
                )
        except BaseException:
            self.streams |= self._replaced
            raise
        return decided.decision

    def _decide(self, work: Work) -> _Decided:
        task = work.task
        if task.stateless:
            return _Decided(self._processor.decide_stateless(task.command), task.stream_id, None)
        stream, kind = self.streams[task.stream_id], self._kinds.kind_of(task.stream_id)
        if not self._is_foreign(work):
            return _Decided(kind.decide(task.command, stream.state), task.stream_id, stream)
        # The id belongs to an account of another shard, whose stream we have not locked: the
        # refusal goes to a stream of its own, which also shows when it was already given.
        refused_id = refused_stream_id(work)
        refused = self.streams[refused_id]
        if refused.stream_version:
            return _Decided(Ignored(ForeignStream.ALREADY_REFUSED), None, None)
        return _Decided(kind.decide(task.command, stream.state), refused_id, refused)

    def _stage(self, work: Work, decided: _Decided, now: datetime) -> Decision | Ignored:
        decision, stream_id, stream = decided
        if stream_id is None:
            return decision
        if work.incoming is not None:
            self.recorded.handled.append(work.incoming)
            if self._processor.records_incoming:
                stream = self._record_incoming(work, work.incoming, stream, stream_id, now)
        events = decision.recorded() if isinstance(decision, Decision) else ()
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
            self._replaced.setdefault(stream_id, self.streams[stream_id])
            self.streams[stream_id] = stream
        return decision

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
        unsettled = work.by_person and isinstance(decision, Ignored)
        if work.effect is not None and not retried and not unsettled:
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

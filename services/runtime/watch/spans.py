"""Spans by OpenTelemetry's SDK: one trace through all services, linked to the batches it went with.

No body, no personal data, no text of an exception gets into a span. `span_maker` writes them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, set_span_in_context

from services.runtime.flow.tracing import is_sampled
from services.runtime.flow.work import Parsed, Recorded, Work
from services.runtime.log.event_log import DeadLetter, LeasedEffect, StoredEvent
from services.runtime.watch.span_maker import Attributes, SpanMaker, failed, link
from services.runtime.watch.trace_ids import (
    TraceIds,
    context_of,
    span_context_of,
    traceparent_of,
)


async def _close_nothing() -> None:
    """Leave the provider to whoever made it."""


class Spans:
    """The traces of one service process. Implements `tracing.Tracing`."""

    def __init__(
        self,
        provider: TracerProvider,
        ids: TraceIds,
        *,
        service: str,
        close: Callable[[], Awaitable[None]] = _close_nothing,
    ) -> None:
        """Make spans of `service` with `provider`, which takes its ids from `ids`."""
        self._maker = SpanMaker(provider, ids, service=service)
        self._close = close

    def batch(self) -> BatchSpans:
        """Follow a batch of records, from now on."""
        return BatchSpans(self._maker)

    @contextmanager
    def attempt(self, effect: LeasedEffect) -> Iterator[LeasedEffect]:
        """Follow one attempt; its result is recorded as a child of the attempt."""
        origin, run = effect.origin, effect.run
        if not is_sampled(origin.traceparent):
            yield effect
            return
        about: Attributes = {
            "perennial.effect.kind": run.kind,
            "perennial.effect.attempt": run.attempt,
            "perennial.effect.recovered": run.recovered,
            "perennial.correlation_id": origin.correlation_id,
            "perennial.stream_id": origin.stream_id,
        }
        span = self._maker.start(run.kind, context_of(origin.traceparent), SpanKind.CLIENT, about)
        traceparent = traceparent_of(span.get_span_context())
        try:
            yield effect._replace(origin=origin._replace(traceparent=traceparent))
        except BaseException as error:
            failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def results(self) -> ResultSpans:
        return ResultSpans(self._maker)

    @contextmanager
    def publishing(self, topic: str, events: Sequence[StoredEvent]) -> Iterator[None]:
        """Follow events until the broker has acknowledged them; what it refuses comes again."""
        traced = [event for event in events if is_sampled(event.traceparent)]
        if not traced:
            yield
            return
        parents = [span_context_of(event.traceparent) for event in traced]
        began_at = time.time_ns()
        batch = self._maker.start_batch("publish", topic, len(events), parents, began_at)
        try:
            yield
        except BaseException as error:
            failed(batch, type(error).__name__)
            raise
        else:
            for event in traced:
                self._maker.published(event, topic, began_at, batch)
        finally:
            batch.end()

    async def close(self) -> None:
        """Export what is left, as far as that is possible in a few seconds."""
        await self._close()


class BatchSpans:
    """The spans of one batch. Those of its records end, and so are exported, with a commit only."""

    def __init__(self, maker: SpanMaker) -> None:
        self._maker = maker
        self._began_at = self._writing_at = time.time_ns()
        self._records: list[tuple[Parsed, Span]] = []
        self._led_to_something: list[Span] = []
        self._batch: Span | None = None

    def begun(self, parsed: list[Parsed]) -> list[Parsed]:
        """Start a span for each record that wants one, and one for the batch if any does."""
        begun = [self._begin(item) for item in parsed]
        if self._records:
            topics = {item.record.topic for item in parsed}
            topic = topics.pop() if len(topics) == 1 else None
            parents = [
                span_context_of(item.work.incoming.envelope.traceparent)
                for item, _ in self._records
                if item.work is not None and item.work.incoming is not None
            ]
            self._batch = self._maker.start_batch(
                "process", topic, len(parsed), parents, self._began_at
            )
        return begun

    def _begin(self, item: Parsed) -> Parsed:
        work = item.work
        if work is None or work.incoming is None:
            return item
        if work.traceparent is not None and not is_sampled(work.traceparent):
            return item
        span = self._maker.start_record(item, work, work.incoming, self._began_at)
        traceparent = traceparent_of(span.get_span_context())
        item = item._replace(work=work._replace(traceparent=traceparent))
        if span.is_recording():
            self._records.append((item, span))
        return item

    def writes(self, recorded: Recorded, letters: Sequence[DeadLetter]) -> None:
        """Keep the spans of records that were applied; repetitions are dropped."""
        self._writing_at = time.time_ns()
        if not self._records:
            return
        named = {event.traceparent for event in recorded.events}
        named |= {origin.traceparent for origin, _ in recorded.starts}
        filed: set[object] = {
            (event.source, event.shard, event.sequence) for event in recorded.events
        }
        dead = {
            (letter.topic, letter.partition, letter.record_offset): letter.reason
            for letter in letters
        }
        for item, span in self._records:
            record, work = item.record, item.work
            if reason := dead.get((record.topic, record.partition, record.offset)):
                failed(span, reason)
            elif work is None or not (work.traceparent in named or _place_of(work) in filed):
                continue
            else:
                filed.discard(_place_of(work))
            self._led_to_something.append(span)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the spans; of a batch that was rolled back and comes again, only that of the batch."""
        if self._batch is None:
            return
        ended_at = time.time_ns()
        if kind is None:
            for span in self._led_to_something:
                link(span, self._batch)
                self._commit(span, ended_at)
                span.end(ended_at)
            self._commit(self._batch, ended_at)
        else:
            failed(self._batch, kind.__name__)
        self._batch.end(ended_at)

    def _commit(self, parent: Span, ended_at: int) -> None:
        self._maker.commit(set_span_in_context(parent, Context()), self._writing_at, ended_at, None)


def _place_of(work: Work) -> tuple[str, int, int] | None:
    """Return the place of what led to `work` among the events of its source, where it has one."""
    if work.incoming is None:
        return None
    envelope = work.incoming.envelope
    return envelope.source, work.shard, envelope.sequence or 0


class ResultSpans:
    """The commit of results, once in the trace of each attempt that it records."""

    def __init__(self, maker: SpanMaker) -> None:
        self._maker = maker
        self._writing_at = 0
        self._parents: list[Context] = []

    def commits(self, works: Sequence[Work]) -> None:
        """Note whose results the transaction is about to write."""
        self._writing_at = time.time_ns()
        self._parents = [context_of(w.traceparent) for w in works if is_sampled(w.traceparent)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say what became of the transaction."""
        ended_at = time.time_ns()
        for parent in self._parents:
            self._maker.commit(parent, self._writing_at, ended_at, kind)

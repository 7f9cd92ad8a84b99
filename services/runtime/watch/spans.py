"""Spans by OpenTelemetry's SDK: one trace through all services, linked to the batches it went with.

Names and attributes follow the conventions for messaging, databases and CloudEvents. No body, no
personal data, no text of an exception gets into a span.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Final, Literal, Self

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from services.runtime.flow.parsing import Parsed
from services.runtime.flow.work import Recorded, Work
from services.runtime.log.event_log import DeadLetter, LeasedEffect, StoredEvent
from services.runtime.processor import Incoming
from services.runtime.watch.trace_ids import (
    TraceIds,
    context_of,
    span_context_of,
    traceparent_of,
)
from services.runtime.watch.tracing import is_sampled

LINKS_MAX: Final = 128
"""Of one span, as in the SDK: a batch may hold thousands of records."""
Attributes = Mapping[str, AttributeValue]
Operation = Literal["process", "publish"]


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
        self._tracer = provider.get_tracer("perennial", version("perennial"))
        self._ids = ids
        self._close = close
        self.service = service

    def batch(self) -> BatchSpans:
        """Follow a batch of records, from now on."""
        return BatchSpans(self)

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
        span = self.start(run.kind, context_of(origin.traceparent), SpanKind.CLIENT, about)
        traceparent = traceparent_of(span.get_span_context())
        try:
            yield replace(effect, origin=replace(origin, traceparent=traceparent))
        except BaseException as error:
            failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def results(self) -> ResultSpans:
        """Follow the results of effects."""
        return ResultSpans(self)

    @contextmanager
    def publishing(self, topic: str, events: Sequence[StoredEvent]) -> Iterator[None]:
        """Follow events until the broker has acknowledged them; what it refuses comes again."""
        traced = [event for event in events if is_sampled(event.traceparent)]
        if not traced:
            yield
            return
        parents = [span_context_of(event.traceparent) for event in traced]
        began_at = time.time_ns()
        batch = self.start_batch("publish", topic, len(events), parents, began_at)
        try:
            yield
        except BaseException as error:
            failed(batch, type(error).__name__)
            raise
        else:
            for event in traced:
                self._published(event, topic, began_at, batch)
        finally:
            batch.end()

    def _published(self, event: StoredEvent, topic: str, began_at: int, batch: Span) -> None:
        span = self.start(
            f"publish {_name(event.type)}",
            context_of(event.traceparent),
            SpanKind.PRODUCER,
            {
                **_messaging("publish", topic),
                **_cloud_event(str(event.event_id), event.type, event.source),
                "messaging.destination.partition.id": str(event.shard),
                "perennial.correlation_id": event.correlation_id,
                "perennial.stream_id": event.stream_id,
            },
            began_at=began_at,
        )
        link(span, batch)
        span.end()

    async def close(self) -> None:
        """Export what is left, as far as that is possible in a few seconds."""
        await self._close()

    # -- for the units of work below -------------------------------------------------------------

    def start(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes,
        *,
        began_at: int | None = None,
    ) -> Span:
        """Start a span under `parent`."""
        self._ids.begin_with(None)
        return self._tracer.start_span(
            name, parent, kind=kind, attributes=attributes, start_time=began_at
        )

    def start_batch(
        self,
        operation: Operation,
        topic: str | None,
        count: int,
        parents: Sequence[SpanContext],
        began_at: int,
    ) -> Span:
        """Start the trace of `count` messages, linked to those of `parents` that are traces."""
        attributes = _messaging(operation, topic) | {"messaging.batch.message_count": count}
        if operation == "process":
            attributes["messaging.consumer.group.name"] = self.service
        self._ids.begin_with(None)
        return self._tracer.start_span(
            f"{operation} {topic}" if topic else operation,
            Context(),
            kind=SpanKind.CONSUMER if operation == "process" else SpanKind.PRODUCER,
            attributes=attributes,
            links=[Link(parent) for parent in parents if parent.is_valid][:LINKS_MAX],
            start_time=began_at,
        )

    def start_record(self, item: Parsed, work: Work, incoming: Incoming, began_at: int) -> Span:
        """Start the span of one record under the trace it came with, or one that its id names."""
        envelope, record = incoming.envelope, item.record
        self._ids.begin_with(envelope.id)
        return self._tracer.start_span(
            f"process {_name(envelope.type)}",
            context_of(work.traceparent),
            kind=SpanKind.CONSUMER,
            attributes={
                **_messaging("process", record.topic),
                **_cloud_event(str(envelope.id), envelope.type, envelope.source),
                "messaging.consumer.group.name": self.service,
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
                "perennial.correlation_id": work.correlation_id,
                "perennial.stream_id": work.task.stream_id,
            },
            start_time=began_at,
        )

    def commit(
        self, parent: Context, began_at: int, ended_at: int, error: type[BaseException] | None
    ) -> None:
        """Say that a transaction was written and committed, or was not."""
        span = self.start(
            "commit",
            parent,
            SpanKind.CLIENT,
            {
                "db.system.name": "postgresql",
                "db.namespace": self.service,
                "db.operation.name": "COMMIT",
            },
            began_at=began_at,
        )
        if error is not None:
            failed(span, error.__name__)
        span.end(ended_at)


class BatchSpans:
    """The spans of one batch. Those of its records end, and so are exported, with a commit only."""

    def __init__(self, spans: Spans) -> None:
        """Begin now."""
        self._spans = spans
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
            self._batch = self._spans.start_batch(
                "process", topic, len(parsed), parents, self._began_at
            )
        return begun

    def _begin(self, item: Parsed) -> Parsed:
        work = item.work
        if work is None or work.incoming is None:
            return item
        if work.traceparent is not None and not is_sampled(work.traceparent):
            return item
        span = self._spans.start_record(item, work, work.incoming, self._began_at)
        traceparent = traceparent_of(span.get_span_context())
        item = replace(item, work=replace(work, traceparent=traceparent))
        if span.is_recording():
            self._records.append((item, span))
        return item

    def writes(self, recorded: Recorded, letters: Sequence[DeadLetter]) -> None:
        """Keep the spans of records that led to something; nobody asks for those of repetitions."""
        self._writing_at = time.time_ns()
        if not self._records:
            return
        causes = {event.event_id for event in recorded.events}
        causes |= {event.causation_id for event in recorded.events if event.causation_id}
        causes |= {origin.cause_event_id for origin, _ in recorded.starts}
        dead = {
            (letter.topic, letter.partition, letter.record_offset): letter.reason
            for letter in letters
        }
        for item, span in self._records:
            record, work = item.record, item.work
            if reason := dead.get((record.topic, record.partition, record.offset)):
                failed(span, reason)
            elif work is None or work.cause_event_id not in causes:
                continue
            self._led_to_something.append(span)

    async def __aenter__(self) -> Self:
        """Go on."""
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
        self._spans.commit(set_span_in_context(parent, Context()), self._writing_at, ended_at, None)


class ResultSpans:
    """The commit of results, once in the trace of each attempt that it records."""

    def __init__(self, spans: Spans) -> None:
        """Begin."""
        self._spans = spans
        self._writing_at = 0
        self._parents: list[Context] = []

    def commits(self, works: Sequence[Work]) -> None:
        """Note whose results the transaction is about to write."""
        self._writing_at = time.time_ns()
        self._parents = [context_of(w.traceparent) for w in works if is_sampled(w.traceparent)]

    async def __aenter__(self) -> Self:
        """Go on."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say what became of the transaction."""
        ended_at = time.time_ns()
        for parent in self._parents:
            self._spans.commit(parent, self._writing_at, ended_at, kind)


def failed(span: Span, error_type: str) -> None:
    """Mark `span` with the kind of error; its text may hold anything, and stays out."""
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", error_type)


def link(span: Span, batch: Span) -> None:
    """Lead from `span` to its batch, if that is exported at all."""
    if batch.is_recording():
        span.add_link(batch.get_span_context())


def _messaging(operation: Operation, topic: str | None) -> dict[str, AttributeValue]:
    where: dict[str, AttributeValue] = (
        {} if topic is None else {"messaging.destination.name": topic}
    )
    return where | {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": "send" if operation == "publish" else "process",
    }


def _cloud_event(event_id: str, event_type: str, source: str) -> dict[str, AttributeValue]:
    return {
        "cloudevents.event_id": event_id,
        "cloudevents.event_type": event_type,
        "cloudevents.event_source": source,
    }


def _name(event_type: str) -> str:
    """Return `PaymentCaptured` for `billing.PaymentCaptured.v1`."""
    return event_type.removeprefix("billing.").rpartition(".")[0]

"""How spans are made: names and attributes by the conventions for messaging, databases, CloudEvents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from services.runtime.flow.work import Parsed, Work
from services.runtime.log.event_log import StoredEvent
from services.runtime.processor import Incoming
from services.runtime.watch.trace_ids import TraceIds, context_of

LINKS_MAX: Final = 128
"""Of one span, as in the SDK: a batch may hold thousands of records."""
Attributes = Mapping[str, AttributeValue]
Operation = Literal["process", "publish"]


class SpanMaker:
    """Makes the spans of one service process."""

    def __init__(self, provider: TracerProvider, ids: TraceIds, *, service: str) -> None:
        """Make spans of `service` with `provider`, which takes its ids from `ids`."""
        self._tracer = provider.get_tracer("perennial", version("perennial"))
        self._ids = ids
        self.service = service

    def start(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes,
        *,
        began_at: int | None = None,
    ) -> Span:
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
        self._ids.begin_with(work.cause)
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

    def published(self, event: StoredEvent, topic: str, began_at: int, batch: Span) -> None:
        """Say that the broker has acknowledged an event."""
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
    """Return `Name` for `<namespace>.Name.v1`."""
    return event_type.partition(".")[2].rpartition(".")[0]

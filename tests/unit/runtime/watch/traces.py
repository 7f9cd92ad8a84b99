"""Spans kept in memory by the SDK's own exporter, and the traces that requests come with."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from services.runtime.log.event_log import StoredEvent
from services.runtime.log.memory_log import MemoryEventLog
from services.runtime.watch.trace_export import spans_to
from services.runtime.watch.trace_ids import span_context_of

TRACE_ID: Final = 0x0AF7651916CD43DD8448EB211C80319C
UPSTREAM_ID: Final = 0xB7AD6B7169203331
SAMPLED: Final = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED: Final = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Traced:
    """What one service traced."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._exporter = InMemorySpanExporter()
        self.tracing = spans_to(SimpleSpanProcessor(self._exporter), "orders")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return the finished spans in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the finished spans of that name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only finished span of that name."""
        [span] = self.named(name)
        return span

    def children_of(self, parent: SpanContext) -> list[str]:
        """Return the names of the spans right under `parent`."""
        return [
            span.name
            for span in self.spans
            if span.parent is not None and span.parent.span_id == parent.span_id
        ]


def context(span: ReadableSpan) -> SpanContext:
    """Return which span it is."""
    assert span.context is not None
    found: SpanContext = span.context
    return found


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Return what the span says."""
    return dict(span.attributes or {})


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    """Return (trace id, span id) of each link."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


async def stored(log: MemoryEventLog, stream_id: str) -> list[StoredEvent]:
    """Return the events of a stream."""
    async with log.transaction() as tx:
        return (await tx.load_streams([stream_id])).get(stream_id, [])


async def stored_span(log: MemoryEventLog, stream_id: str) -> SpanContext:
    """Return the span that the last event of a stream names."""
    return span_context_of((await stored(log, stream_id))[-1].traceparent)

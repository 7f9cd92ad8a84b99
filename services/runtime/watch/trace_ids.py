"""Trace contexts: as text in events and effects, as OpenTelemetry's values, and made for new traces."""

from __future__ import annotations

import hashlib
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C: Final = TraceContextTextMapPropagator()


class TraceIds(RandomIdGenerator):
    """Makes ids; the trace that begins with an event has the id that follows from its source and id.

    A request goes to several services. When upstream gave it no trace, each of them begins one, and
    it must be the same one: also for samplers, which look at the trace id.
    """

    def __init__(self) -> None:
        self._cause: str | None = None

    def begin_with(self, cause: str | None) -> None:
        """Derive the next trace id, if one is made, from `cause`; None: by chance."""
        self._cause = cause

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        if self._cause is None:
            return super().generate_trace_id()
        return derived_trace_id(self._cause)

    def is_trace_id_random(self) -> bool:
        """Claim nothing of the sort: most are derived."""
        return False


def derived_trace_id(cause: str) -> int:
    """Return the trace id of an event that came without one; `cause` is its source and id."""
    # A hash, because samplers take the low bits for evenly spread.
    return int.from_bytes(hashlib.sha256(b"perennial-trace" + cause.encode()).digest()[:16])


def context_of(traceparent: str | None) -> Context:
    """Return the context that a W3C `traceparent` names; an empty one for None and for zeros."""
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return _W3C.extract(carrier, Context())


def span_context_of(traceparent: str | None) -> SpanContext:
    """Return the span that a W3C `traceparent` names; an invalid one for None and for zeros."""
    return get_current_span(context_of(traceparent)).get_span_context()


def traceparent_of(span: SpanContext) -> str:
    """Write the W3C `traceparent` that names `span`."""
    ids = f"{format_trace_id(span.trace_id)}-{format_span_id(span.span_id)}"
    return f"00-{ids}-{span.trace_flags:02x}"

"""Where spans go: an OTLP receiver over HTTP, from a thread of its own with a bounded queue.

A receiver that is slow or absent costs spans, never a record: what does not fit is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from services.runtime.errors import ConfigurationError
from services.runtime.logs import Logger
from services.runtime.watch.spans import Spans
from services.runtime.watch.trace_ids import TraceIds

CLOSE_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 60.0
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def open_spans(service: str, logger: Logger, endpoints: Sequence[str]) -> Spans:
    """Begin to export spans of `service` to where `endpoints`, variables, say.

    Raises:
        ConfigurationError: they ask for what cannot be done.
    """
    _check(endpoints)
    libraries = logging.getLogger("opentelemetry")
    libraries.handlers = [TroubleLog(logger)]
    libraries.propagate = False
    try:
        return spans_to(BatchSpanProcessor(OTLPSpanExporter()), service)
    except ValueError as error:
        message = (
            f"a value of the OTEL_ variables is not usable ({type(error).__name__} from "
            "OpenTelemetry's SDK): compare them with the section Tracing of docs/OPERATIONS.md"
        )
        raise ConfigurationError(message) from None


def spans_to(processor: SpanProcessor, service: str) -> Spans:
    """Return the tracing of `service`, whose spans go to `processor`."""
    ids = TraceIds()
    provider = TracerProvider(
        resource=resource_of(service), id_generator=ids, shutdown_on_exit=False
    )
    provider.add_span_processor(processor)

    async def close() -> None:
        """Shut down in a thread that nothing waits for at exit.

        Raises:
            TimeoutError: the receiver did not take what was left in time.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            provider.shutdown()
            # Whoever waited may be gone, and the loop with it.
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="tracing", daemon=True).start()
        async with asyncio.timeout(CLOSE_SECONDS):
            await done.wait()

    return Spans(provider, ids, service=service, close=close)


def resource_of(service: str) -> Resource:
    """Return what the spans say of this process; OTEL_ variables have the last word."""
    found = Resource({SERVICE_VERSION: version("perennial")}).merge(Resource.create())
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: f"perennial-{service}"}))
    return found


class TroubleLog(logging.Handler):
    """Passes on what the libraries complain of: one line a minute, numbers but no other values."""

    def __init__(self, logger: Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
        self._monotonic = monotonic
        self._silent_until = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Write the complaint, unless there was one just now."""
        now = self._monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + SILENT_SECONDS
        values = record.args if isinstance(record.args, tuple) else ()
        shown = tuple(value if isinstance(value, int | float) else "..." for value in values)
        problem = str(record.msg) % shown if shown else str(record.msg)
        self._logger.warning("tracing_trouble", source=record.name, problem=problem)


def _check(endpoints: Sequence[str]) -> None:
    for name in endpoints:
        if (endpoint := os.environ.get(name)) and urlsplit(endpoint).scheme not in {
            "http",
            "https",
        }:
            message = f"write {name} as http://host:4318 or https://host:4318"
            raise ConfigurationError(message)
    protocols = [protocol for name in _PROTOCOLS if (protocol := os.environ.get(name))]
    if protocols and protocols[0] != "http/protobuf":
        message = f"only http/protobuf is spoken here: leave {_PROTOCOLS[1]} out, or set it to that"
        raise ConfigurationError(message)

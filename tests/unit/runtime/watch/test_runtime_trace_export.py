"""Where spans go: what the variables switch on, what they may not say, and trouble on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from uuid import uuid5

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from services.runtime.errors import ConfigurationError
from services.runtime.flow.tracing import UNTRACED
from services.runtime.logs import Logger
from services.runtime.watch import trace_export
from services.runtime.watch.open_tracing import open_tracing
from services.runtime.watch.spans import Spans
from services.runtime.watch.trace_export import TroubleLog, resource_of, spans_to
from services.runtime.watch.trace_ids import derived_trace_id
from tests.unit.runtime.toy import NAMESPACE, Toy, begin, intake_of, memory_log, request

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def lines() -> structlog.testing.CapturingLogger:
    return structlog.testing.CapturingLogger()


@pytest.fixture
def logger(lines: structlog.testing.CapturingLogger) -> Logger:
    wrapped: Logger = structlog.wrap_logger(lines, processors=[])
    return wrapped


@pytest.fixture(autouse=True)
def libraries() -> Iterator[logging.Logger]:
    """The libraries' logger, as it was afterwards."""
    found = logging.getLogger("opentelemetry")
    handlers, propagate = found.handlers, found.propagate
    yield found
    found.handlers, found.propagate = handlers, propagate


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: NOWHERE, "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: NOWHERE, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "orders-eu", "OTEL_TRACES_SAMPLER": "always_on"},
    ],
)
def test_nothing_is_traced_unless_there_is_where_to_send_it(
    variables: dict[str, str], logger: Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert open_tracing("orders", logger) is UNTRACED


@pytest.mark.parametrize("name", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
async def test_an_endpoint_switches_tracing_on(
    name: str, logger: Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, NOWHERE)
    tracing = open_tracing("orders", logger)
    assert isinstance(tracing, Spans)
    await tracing.close()


@pytest.mark.parametrize(
    "variables",
    [
        {ENDPOINT: "collector-secret:4317"},
        {ENDPOINT: NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "secret"},
        {ENDPOINT: NOWHERE, "OTEL_BSP_MAX_QUEUE_SIZE": "0"},
    ],
)
def test_what_cannot_be_done_is_refused_without_showing_it(
    variables: dict[str, str], logger: Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="OTEL_") as refused:
        open_tracing("orders", logger)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "perennial-orders"),
        ({"OTEL_SERVICE_NAME": "orders-eu"}, "orders-eu"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=orders-us"}, "orders-us"),
    ],
)
def test_a_process_has_the_name_of_its_service_unless_the_variables_say_another(
    variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    found = resource_of("orders").attributes
    assert found["service.name"] == name
    assert "service.version" in found


def test_trouble_is_told_once_a_minute_without_the_values(
    lines: structlog.testing.CapturingLogger, logger: Logger, libraries: logging.Logger
) -> None:
    now = [100.0]
    libraries.handlers = [TroubleLog(logger, lambda: now[0])]
    libraries.propagate = False
    exporter = logging.getLogger("opentelemetry.exporter.test")
    for seconds in (0, 1, 58, 2):
        now[0] += seconds
        exporter.error("failed with code: %s, reason: %s", 401, "https://key:secret@collector")
    assert [call.kwargs for call in lines.calls] == [
        {
            "event": "tracing_trouble",
            "source": "opentelemetry.exporter.test",
            "problem": "failed with code: 401, reason: ...",
        }
    ] * 2


class Stuck(SpanExporter):
    """Takes a long time."""

    def export(self, _: object) -> SpanExportResult:
        time.sleep(1)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


async def trace_something(spans: Spans) -> None:
    log = memory_log()
    await begin(log)
    await intake_of(log, Toy().processor(), tracing=spans).handle([request()])


async def test_receiver_that_does_not_answer_holds_up_a_stop_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace_export, "CLOSE_SECONDS", 0.1)
    spans = spans_to(BatchSpanProcessor(Stuck()), "orders")
    await trace_something(spans)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await spans.close()
    assert time.monotonic() - started < 0.9


async def test_what_is_left_is_exported_at_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[ReadableSpan] = []
    monkeypatch.setattr(Stuck, "export", lambda _, spans: exported.extend(spans))
    spans = spans_to(BatchSpanProcessor(Stuck()), "orders")
    await trace_something(spans)
    await spans.close()
    assert {span.name.partition(" ")[0] for span in exported} == {"process", "commit"}


def test_derived_trace_ids_are_spread_evenly_for_samplers() -> None:
    low = [
        derived_trace_id(f"/upstream/app/{uuid5(NAMESPACE, str(n))}") % (1 << 64)
        for n in range(2_000)
    ]
    sampled = sum(each < (1 << 64) // 10 for each in low)
    assert 130 < sampled < 270
    assert len(set(low)) == 2_000

"""Spans of what goes out: attempts of effects, their commits, events on their way to the broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError
from opentelemetry.trace import SpanKind, StatusCode

from schemas import BILLING
from schemas.topics import ORDERS
from services.runtime.flow.letters.dead_letters import DeadLetterTable
from services.runtime.flow.publishing.relay import Relay
from services.runtime.flow.tracing import Tracing
from services.runtime.watch.span_maker import LINKS_MAX
from tests.unit.runtime.greetings import GREETED, STREAM, Greeter, World
from tests.unit.runtime.relays import FakeBatch
from tests.unit.runtime.toy import SHARDS, Toy, begin, intake_of, memory_log, request
from tests.unit.runtime.watch.traces import (
    SAMPLED,
    TRACE_ID,
    UNSAMPLED,
    Traced,
    attributes,
    context,
    linked,
    stored,
    stored_span,
)

BATCH = f"publish {ORDERS.name}"
EVENT = "publish OrderExpired"


@pytest.fixture(autouse=True)
def quick_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.flow.effects.due_times.POLL_SECONDS", 0.01)


async def test_attempt_is_a_child_of_the_record_that_wanted_it_and_the_parent_of_its_event() -> (
    None
):
    traced = Traced()
    world = World(Greeter(GREETED), tracing=traced.tracing)
    async with world.running() as runner:
        runner.submit(await world.count(traceparent=SAMPLED))
        await world.until_events(2)
    span, wanted_by = traced.one("greet"), traced.one("process TopUpRequested")
    assert span.kind is SpanKind.CLIENT
    assert span.parent is not None
    assert span.parent.span_id == context(wanted_by).span_id
    assert (await stored_span(world.log, STREAM)).span_id == context(span).span_id
    assert attributes(span) == {
        "perennial.effect.kind": "greet",
        "perennial.effect.attempt": 1,
        "perennial.effect.recovered": False,
        "perennial.correlation_id": "t-1",
        "perennial.stream_id": STREAM,
    }
    assert traced.children_of(context(span)) == ["commit"]
    assert {context(each).trace_id for each in (span, wanted_by)} == {TRACE_ID}


async def test_attempt_that_fails_says_the_kind_of_error_and_not_its_text() -> None:
    traced = Traced()
    world = World(Greeter(RuntimeError("to someone@example.com"), GREETED), tracing=traced.tracing)
    async with world.running() as runner:
        runner.submit(await world.count(traceparent=SAMPLED))
        await asyncio.sleep(0.05)
        world.now += timedelta(seconds=61)
        await world.until_events(2)
    first, second = traced.named("greet")
    assert (first.status.status_code, second.status.status_code) == (
        StatusCode.ERROR,
        StatusCode.UNSET,
    )
    assert attributes(first)["error.type"] == "RuntimeError"
    assert (first.events, first.status.description) == ((), None)
    assert attributes(second)["perennial.effect.attempt"] == 2
    assert attributes(second)["perennial.effect.recovered"] is True
    assert first.parent is not None
    assert second.parent is not None
    assert first.parent.span_id == second.parent.span_id
    assert "someone@example.com" not in "".join(span.to_json() for span in traced.spans)


async def test_effect_of_a_request_that_is_not_sampled_leaves_no_span() -> None:
    traced = Traced()
    world = World(Greeter(GREETED), tracing=traced.tracing)
    async with world.running() as runner:
        runner.submit(await world.count(traceparent=UNSAMPLED))
        await world.until_events(2)
    assert traced.spans == []
    assert {event.traceparent for event in await stored(world.log, STREAM)} == {UNSAMPLED.decode()}


class Producer:
    """Acknowledges everything, or is not connected."""

    def __init__(self, *, connected: bool) -> None:
        self._connected = connected
        self.headers: list[dict[str, bytes]] = []

    async def start(self) -> None:
        pass

    def create_batch(self) -> FakeBatch:
        return FakeBatch(LINKS_MAX * 2)

    async def send_batch(self, batch: FakeBatch, _topic: str, **_: Any) -> asyncio.Future[Any]:
        if not self._connected:
            raise KafkaConnectionError("broker-7 is away")
        self.headers += [dict(message["headers"]) for message in batch.messages]
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(type("Acknowledged", (), {"offset": 0}))
        return acknowledged


class NoDeadLetters:
    """Dead letters without a database."""

    async def unpublished(self) -> list[Any]:
        return []


async def relay_of(*traceparents: bytes, tracing: Tracing, connected: bool = True) -> Relay:
    log = memory_log()
    await begin(log)
    requests = [
        request(n, topup_id=f"t-{n}").having("ce_traceparent", traceparent)
        for n, traceparent in enumerate(traceparents)
    ]
    await intake_of(log, Toy().processor()).handle(requests)
    return Relay(
        events=BILLING,
        log=log,
        dead_letters=cast("DeadLetterTable", NoDeadLetters()),
        source="/billing/orders",
        topic=ORDERS.name,
        group="orders",
        shards=lambda: range(SHARDS),
        producer_factory=lambda: Producer(connected=connected),
        logger=structlog.wrap_logger(structlog.testing.CapturingLogger()),
        tracing=tracing,
    )


async def test_publishing_is_in_the_trace_of_each_event_and_linked_to_its_batch() -> None:
    traced = Traced()
    relay = await relay_of(SAMPLED, UNSAMPLED, tracing=traced.tracing)
    assert await relay.publish_once() == 2
    span, batch = traced.one(EVENT), traced.one(BATCH)
    assert (span.kind, batch.kind) == (SpanKind.PRODUCER, SpanKind.PRODUCER)
    assert context(span).trace_id == TRACE_ID
    assert linked(span) == [(context(batch).trace_id, context(batch).span_id)]
    assert batch.parent is None
    assert [trace_id for trace_id, _ in linked(batch)] == [TRACE_ID]
    assert attributes(batch)["messaging.batch.message_count"] == 2
    assert attributes(span)["cloudevents.event_type"] == "billing.OrderExpired.v1"
    assert attributes(span)["messaging.operation.type"] == "send"


async def test_events_that_the_broker_did_not_take_leave_one_failed_span() -> None:
    traced = Traced()
    relay = await relay_of(SAMPLED, SAMPLED, tracing=traced.tracing, connected=False)
    with pytest.raises(KafkaConnectionError):
        await relay.publish_once()
    [span] = traced.spans
    assert (span.name, span.status.status_code) == (BATCH, StatusCode.ERROR)
    assert attributes(span)["error.type"] == "KafkaConnectionError"
    assert "broker-7" not in span.to_json()


async def test_events_of_unsampled_requests_are_published_without_a_span() -> None:
    traced = Traced()
    relay = await relay_of(UNSAMPLED, tracing=traced.tracing)
    assert await relay.publish_once() == 1
    assert traced.spans == []


async def test_links_of_what_is_published_are_limited() -> None:
    traced = Traced()
    relay = await relay_of(*[SAMPLED] * (LINKS_MAX + 5), tracing=traced.tracing)
    await relay.publish_once()
    assert len(traced.named(EVENT)) == LINKS_MAX + 5
    assert len(traced.one(BATCH).links) == LINKS_MAX

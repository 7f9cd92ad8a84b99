"""Spans of records: whose children they are, what they lead to, and when there are none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from schemas.ledger import LowBalanceDetected
from schemas.topics import LEDGER, REQUESTS, Source
from services.runtime.effect import Start
from services.runtime.errors import Poison, Transient
from services.runtime.log.event_log import chain_hash
from services.runtime.watch.span_maker import LINKS_MAX
from services.runtime.watch.trace_ids import derived_trace_id
from tests.unit.runtime.toy import (
    ACCOUNT,
    OTHER_ACCOUNT,
    SHARD,
    Record,
    Toy,
    begin,
    intake_of,
    low_balance,
    memory_log,
    request,
)
from tests.unit.runtime.watch.traces import (
    SAMPLED,
    TRACE_ID,
    UNSAMPLED,
    UPSTREAM_ID,
    Traced,
    attributes,
    context,
    linked,
    stored,
    stored_span,
)

RECORD = "process TopUpRequested"
BATCH = f"process {REQUESTS.name}"


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture(params=["always_off", "traceidratio", "parentbased_always_off"])
def never(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Traced:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", request.param)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    return Traced()


def asking(offset: int = 0, traceparent: bytes = SAMPLED, **which: str) -> Record:
    return request(offset, **which).having("ce_traceparent", traceparent)  # type: ignore[arg-type]


async def test_span_of_a_record_is_a_child_of_the_request_and_the_parent_of_its_event(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle([asking()])
    span = traced.one(RECORD)
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is not None
    assert (context(span).trace_id, span.parent.span_id) == (TRACE_ID, UPSTREAM_ID)
    assert span.status.status_code is StatusCode.UNSET
    event = await stored_span(log, "order/t-1")
    assert (event.trace_id, event.span_id) == (TRACE_ID, context(span).span_id)
    assert event.trace_flags.sampled


async def test_span_of_a_record_says_what_it_was_and_holds_nothing_of_its_body(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle([asking()])
    [event] = await stored(log, "order/t-1")
    assert attributes(traced.one(RECORD)) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": REQUESTS.name,
        "messaging.destination.partition.id": str(SHARD),
        "messaging.kafka.offset": 0,
        "messaging.consumer.group.name": "orders",
        "cloudevents.event_id": str(event.causation_id),
        "cloudevents.event_type": "billing.TopUpRequested.v1",
        "cloudevents.event_source": "/upstream/toys",
        "perennial.correlation_id": "t-1",
        "perennial.stream_id": "order/t-1",
    }
    assert "tok_secret" not in "".join(span.to_json() for span in traced.spans)


async def test_commit_is_in_the_trace_of_each_record_and_in_that_of_the_batch(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    batch = [asking(n, topup_id=f"t-{n}") for n in range(2)]
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle(batch)
    parents = {context(span).span_id for span in [*traced.named(RECORD), traced.one(BATCH)]}
    commits = traced.named("commit")
    assert {span.parent.span_id for span in commits if span.parent} == parents
    assert len(commits) == len(parents) == 3
    assert {span.kind for span in commits} == {SpanKind.CLIENT}
    assert attributes(commits[0]) == {
        "db.system.name": "postgresql",
        "db.namespace": "orders",
        "db.operation.name": "COMMIT",
    }


async def test_batch_is_a_trace_of_its_own_linked_to_its_records_and_they_to_it(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    other = SAMPLED.replace(b"0af7", b"0af8")
    batch = [asking(0), asking(1, other, topup_id="t-2"), request(2, topup_id="t-3")]
    batch[2].having("ce_traceparent", UNSAMPLED)
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle(batch)
    span = traced.one(BATCH)
    assert span.parent is None
    assert span.kind is SpanKind.CONSUMER
    assert attributes(span)["messaging.batch.message_count"] == 3
    assert context(span).trace_id not in {TRACE_ID, TRACE_ID + (1 << 112)}
    assert linked(span) == [(TRACE_ID, UPSTREAM_ID), (TRACE_ID + (1 << 112), UPSTREAM_ID)]
    records = traced.named(RECORD)
    assert [linked(each) for each in records] == [
        [(context(span).trace_id, context(span).span_id)]
    ] * 2


async def test_links_of_a_batch_are_limited(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    batch = [asking(n, topup_id=f"t-{n}") for n in range(LINKS_MAX + 20)]
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle(batch)
    assert len(traced.named(RECORD)) == LINKS_MAX + 20
    assert len(traced.one(BATCH).links) == LINKS_MAX


async def test_batch_from_several_topics_names_none(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    batch = [asking(), low_balance(1).having("ce_traceparent", SAMPLED)]
    await intake_of(log, Toy().processor(), tracing=traced.tracing).handle(batch)
    assert "messaging.destination.name" not in attributes(traced.one("process"))


async def test_request_without_trace_begins_the_same_trace_in_every_service() -> None:
    ids = set()
    for _ in range(2):
        log, traced = memory_log(), Traced()
        await begin(log)
        await intake_of(log, Toy().processor(), tracing=traced.tracing).handle([request()])
        span = traced.one(RECORD)
        assert span.parent is None
        [event] = await stored(log, "order/t-1")
        assert event.causation_id is not None
        assert context(span).trace_id == derived_trace_id(f"/upstream/toys/{event.causation_id}")
        assert context(span).trace_id != context(traced.one(BATCH)).trace_id
        ids.add(context(span).trace_id)
    assert len(ids) == 1


async def test_request_that_is_not_sampled_leaves_no_span_and_its_context_is_handed_on(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    intake = intake_of(log, Toy().processor(), tracing=traced.tracing)
    await intake.handle([asking(traceparent=UNSAMPLED)])
    assert traced.spans == []
    [event] = await stored(log, "order/t-1")
    assert event.traceparent == UNSAMPLED.decode()


async def test_request_that_the_sampler_refuses_is_refused_for_those_that_follow_too(
    never: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    intake = intake_of(log, Toy().processor(), tracing=never.tracing)
    await intake.handle([request()])
    assert never.spans == []
    [event] = await stored(log, "order/t-1")
    assert event.traceparent is not None
    assert event.traceparent.endswith("-00")


async def test_without_tracing_the_context_is_handed_on_as_it_came() -> None:
    log = memory_log()
    await begin(log)
    await intake_of(log, Toy().processor()).handle([asking(), request(1, topup_id="t-2")])
    assert [event.traceparent for event in await stored(log, "order/t-1")] == [SAMPLED.decode()]
    assert [event.traceparent for event in await stored(log, "order/t-2")] == [None]


async def test_context_of_zeros_counts_as_none(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    zeros = b"00-00000000000000000000000000000000-0000000000000000-01"
    intake = intake_of(log, Toy().processor(), tracing=traced.tracing)
    await intake.handle([asking(traceparent=zeros)])
    assert traced.one(RECORD).parent is None
    assert linked(traced.one(BATCH)) == []


async def test_batch_that_is_rolled_back_leaves_one_span_that_names_the_error_only(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    toy = Toy(troubles={5: Transient("host db-7 of someone@example.com is away")})
    with pytest.raises(Transient):
        await intake_of(log, toy.processor(), tracing=traced.tracing).handle([asking()])
    [span] = traced.spans
    assert (span.name, span.status.status_code) == (BATCH, StatusCode.ERROR)
    assert attributes(span)["error.type"] == "Transient"
    assert "someone@example.com" not in span.to_json()


async def test_batch_that_comes_again_is_recorded_under_the_same_trace(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    toy = Toy(troubles={5: Transient("away")})
    intake = intake_of(log, toy.processor(), tracing=traced.tracing)
    with pytest.raises(Transient):
        await intake.handle([request()])
    toy.troubles = {}
    await intake.handle([request()])
    [event] = await stored(log, "order/t-1")
    assert event.causation_id is not None
    assert (await stored_span(log, "order/t-1")).trace_id == derived_trace_id(
        f"/upstream/toys/{event.causation_id}"
    )


async def test_repetition_leaves_no_span_of_its_own(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    intake = intake_of(log, Toy().processor(), tracing=traced.tracing)
    await intake.handle([asking()])
    await intake.handle([asking()])
    ignored = asking(1, topup_id="t-2")
    ignored.value = (ignored.value or b"").replace(b'"amount_minor":5', b'"amount_minor":0')
    await intake.handle([ignored])
    assert len(traced.named(RECORD)) == 1
    assert len(traced.named(BATCH)) == 3


async def test_event_of_another_service_that_comes_twice_in_a_batch_has_one_span(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    batch = [low_balance(1, offset=n).having("ce_traceparent", SAMPLED) for n in range(2)]
    processor = Toy().processor(records_incoming=True)
    await intake_of(log, processor, tracing=traced.tracing).handle(batch)
    assert len(traced.named("process LowBalanceDetected")) == 1


async def test_dead_letter_is_a_failed_record_with_its_reason(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    toy = Toy(troubles={5: Poison("token_refused", "SECRET")})
    await intake_of(log, toy.processor(), tracing=traced.tracing).handle([asking()])
    span = traced.one(RECORD)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert attributes(span)["error.type"] == "token_refused"
    assert "SECRET" not in span.to_json()


async def test_record_that_only_starts_an_effect_hands_its_span_to_it(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    toy = Toy(effects=lambda _: (Start("greet/t-1", "greet"),))
    processor = toy.processor({"greet": _never})
    result = await intake_of(log, processor, tracing=traced.tracing).handle([asking()])
    [effect] = result.leased
    assert effect.origin.traceparent is not None
    assert f"{context(traced.one(RECORD)).span_id:016x}" in effect.origin.traceparent


async def _never(*_: object) -> object:
    raise AssertionError


async def test_event_that_is_filed_from_another_service_keeps_its_context_and_its_hash(
    traced: Traced,
) -> None:
    log = memory_log()
    await begin(log)
    processor = Toy().processor(source=Source.ORDERS, records_incoming=True)
    incoming = low_balance(1).having("ce_traceparent", SAMPLED)
    await intake_of(log, processor, tracing=traced.tracing).handle([incoming])
    filed, own = await stored(log, f"wallet/{ACCOUNT}")
    assert filed.type == LowBalanceDetected.wire_type()
    assert filed.traceparent == SAMPLED.decode()
    span = traced.one("process LowBalanceDetected")
    assert own.traceparent == f"00-{TRACE_ID:032x}-{context(span).span_id:016x}-01"
    assert own.hash == chain_hash(filed.hash, own)
    assert attributes(span)["messaging.destination.name"] == LEDGER.name


async def test_record_that_cannot_be_read_leaves_its_neighbour_traced(traced: Traced) -> None:
    log = memory_log()
    await begin(log)
    broken = asking(0, topup_id="t-2", account_id=OTHER_ACCOUNT)
    broken.value = b"{}"
    result = await intake_of(log, Toy().processor(), tracing=traced.tracing).handle(
        [broken, asking()]
    )
    assert result.outcomes == {"dead_lettered:body_invalid": 1, "applied": 1}
    assert len(traced.named(RECORD)) == 1


def test_service_that_traces_nothing_does_not_even_load_the_packages() -> None:
    code = (
        "import sys, services.runtime.app.start, services.orders.app, services.notifier.app;"
        "sys.exit(bool({'opentelemetry.trace', 'opentelemetry.sdk', 'google.protobuf'}"
        " & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

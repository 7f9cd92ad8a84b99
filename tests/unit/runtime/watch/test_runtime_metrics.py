"""What a process counts: once, after the commit, under labels of closed sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter

from schemas import BILLING
from schemas.envelope import Event
from schemas.orders import OrderExpired
from services.runtime.effect import EffectRun
from services.runtime.errors import Transient
from services.runtime.event_counter import EventCounter
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.work import Recorded
from services.runtime.metrics.metrics import REASONS_MAX, Metrics
from services.runtime.processor import Effect, Mark
from services.runtime.toml.toml_file import digests_of
from tests.controls import T0
from tests.unit.runtime.toy import SHARDS, Toy, begin, counted, memory_log, request

COUNTED = EventCounter(
    name="toy_expired",
    meaning="Facts of the toy.",
    labels=("order",),
    series=frozenset({("t-1",), ("t-2",)}),
    count={OrderExpired: lambda event: ((event.topup_id,), 2)},
)


def metrics_of(*counters: EventCounter) -> Metrics:
    return Metrics(service="toy", events=BILLING, kinds=("greet",), counters=counters, rules={})


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"perennial_{name}", labels)


class Service:
    """The toy with its metrics, on a log in memory."""

    def __init__(self, toy: Toy) -> None:
        self.log = memory_log()
        self.metrics = metrics_of(COUNTED)
        processor = replace(toy.processor(), counters=(COUNTED,))
        self.intake = Intake(
            log=self.log,
            processor=processor,
            journal=Journal(processor, on_committed=self._committed),
            shard_count=SHARDS,
            clock=lambda: T0,
        )

    def _committed(self, recorded: Recorded) -> None:
        self.metrics.committed(recorded.facts)


async def test_event_is_counted_by_type_and_by_what_the_service_declared() -> None:
    service = Service(Toy())
    await begin(service.log)

    await service.intake.handle([request(0), request(1, topup_id="t-2"), request(2)])

    assert value(service.metrics, "events_recorded_total", type="OrderExpired") == 3
    assert value(service.metrics, "toy_expired_total", order="t-1") == 4
    assert value(service.metrics, "toy_expired_total", order="t-2") == 2


def test_files_that_a_process_decides_by_are_told_by_their_content(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.toml", "same.toml", "other.toml"))
    one.write_text("price = 1\n")
    same.write_text("price = 1\n")
    other.write_text("price = 2\n")
    found = [digests_of({"catalogue": path, "routing": None}) for path in (one, same, other)]
    assert found[0] == found[1] != found[2]
    assert [list(each) for each in found] == [["catalogue"]] * 3

    metrics = Metrics.of(replace(Toy().processor(), rules=found[0]))

    labels = {"service": "orders", "file": "catalogue", "sha256": found[0]["catalogue"]}
    assert value(metrics, "rules_info", **labels) == 1


async def test_record_that_comes_twice_is_counted_once() -> None:
    service = Service(Toy())
    await begin(service.log)

    for _ in range(2):
        await service.intake.handle([request(0)])

    assert value(service.metrics, "events_recorded_total", type="OrderExpired") == 1
    assert value(service.metrics, "toy_expired_total", order="t-1") == 2


async def test_transaction_that_is_rolled_back_counts_nothing() -> None:
    service = Service(Toy(troubles={7: Transient("later")}))
    await begin(service.log)

    with suppress(Transient):
        await service.intake.handle([request(0), request(1, topup_id="t-2", amount=7)])

    assert value(service.metrics, "events_recorded_total", type="OrderExpired") == 0
    assert value(service.metrics, "toy_expired_total", order="t-1") == 0


def test_label_outside_of_the_declared_series_is_other() -> None:
    metrics = metrics_of(COUNTED)

    metrics.committed([counted(topup_id=f"t-{number}") for number in range(1, 50)])

    assert value(metrics, "toy_expired_total", order="t-1") == 2
    assert value(metrics, "toy_expired_total", order="other") == 2 * 47
    assert value(metrics, "toy_expired_total", order="t-40") is None


def test_declared_series_are_there_from_the_start_unless_they_are_sparse() -> None:
    metrics = metrics_of(COUNTED, replace(COUNTED, name="toy_sparse", sparse=True))

    assert value(metrics, "toy_expired_total", order="t-2") == 0
    assert value(metrics, "toy_sparse_total", order="t-2") is None


def test_batch_locks_a_series_once_however_many_events_it_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = metrics_of(COUNTED)
    grown: list[float] = []
    monkeypatch.setattr(Counter, "inc", lambda _series, by: grown.append(by))
    facts: list[Event] = [counted() for _ in range(500)]
    metrics.committed(facts)

    assert grown == [500, 1000]


def test_outcomes_are_split_into_outcome_and_reason() -> None:
    metrics = metrics_of()

    metrics.batch_committed(7, 0.02, {"applied": 4, "ignored:late": 2, "dead_lettered:bad": 1})
    metrics.batch_not_committed(comes_again=True)
    metrics.batch_not_committed(comes_again=False)

    assert value(metrics, "records_total", outcome="applied", reason="") == 4
    assert value(metrics, "records_total", outcome="ignored", reason="late") == 2
    assert value(metrics, "records_total", outcome="dead_lettered", reason="bad") == 1
    for result in ("committed", "retried", "failed"):
        assert value(metrics, "batches_total", result=result) == 1
    assert value(metrics, "batch_records_sum") == 7
    assert value(metrics, "batch_duration_seconds_bucket", le="0.025") == 1
    assert value(metrics, "batch_duration_seconds_bucket", le="0.01") == 0


def test_reasons_without_end_make_no_series_without_end() -> None:
    metrics = metrics_of()

    metrics.outcomes({f"ignored:{number}": 1 for number in range(REASONS_MAX * 10)})

    records = next(each for each in metrics.registry.collect() if each.name == "perennial_records")
    assert len(records.samples) == REASONS_MAX + 1
    assert value(metrics, "records_total", outcome="ignored", reason="other") == REASONS_MAX * 9


RUN = EffectRun(
    shard=0,
    effect_id="greet/1",
    kind="greet",
    account_id="acct-1",
    stream_id="order/1",
    payload={},
    attempt=1,
    recovered=False,
    checkpoint=None,
)


async def _mark(checkpoint: str) -> None:
    raise AssertionError(checkpoint)


def attempts(metrics: Metrics) -> dict[str, float | None]:
    return {
        result: value(metrics, "effect_attempts_total", kind="greet", result=result)
        for result in ("finished", "failed", "cancelled")
    }


async def test_attempt_that_finishes_gives_its_command_and_is_counted() -> None:
    async def greet(run: EffectRun, _mark: Mark) -> object:
        assert value(metrics, "effects_under_way", kind="greet") == 1
        return run.effect_id

    metrics = metrics_of()
    assert (
        await metrics.measured({"greet": Effect(greet)})["greet"].execute(RUN, _mark) == "greet/1"
    )
    assert attempts(metrics) == {"finished": 1, "failed": 0, "cancelled": 0}
    assert value(metrics, "effect_duration_seconds_count", kind="greet") == 1
    assert value(metrics, "effects_under_way", kind="greet") == 0


async def test_attempt_that_raises_or_is_cancelled_is_counted_as_such() -> None:
    async def fails(_run: EffectRun, _mark: Mark) -> object:
        raise Transient("away")

    async def lasts(_run: EffectRun, _mark: Mark) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    metrics = metrics_of()
    with pytest.raises(Transient):
        await metrics.measured({"greet": Effect(fails)})["greet"].execute(RUN, _mark)
    measured = metrics.measured({"greet": Effect(lasts)})
    attempt = asyncio.ensure_future(measured["greet"].execute(RUN, _mark))
    await asyncio.sleep(0)
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt

    assert attempts(metrics) == {"finished": 0, "failed": 1, "cancelled": 1}
    assert value(metrics, "effects_under_way", kind="greet") == 0


@pytest.mark.parametrize("make", [metrics_of, lambda: metrics_of(COUNTED)])
def test_two_services_in_one_process_count_apart(make: Callable[[], Any]) -> None:
    first, second = make(), make()
    first.committed([counted()])
    assert value(second, "events_recorded_total", type="OrderExpired") == 0

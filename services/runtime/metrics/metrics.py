"""What one process counts and times, in a Prometheus registry of its own.

Labels come from closed sets. Account, order and event ids are never labels.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from schemas.envelope import Event
from schemas.registry import EventRegistry
from services.runtime.effect import EffectRun
from services.runtime.event_counter import EventCounter, Labels
from services.runtime.metrics.meanings import (
    ATTEMPTS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    BATCHES,
    BUILD,
    EFFECT_SECONDS,
    EVENTS,
    OTHER,
    PREFIX,
    RECORDS,
    RULES,
    SEEKS,
    UNDER_WAY,
    Meaning,
)
from services.runtime.processor import Effect, Executor, Mark, Processor

REASONS_MAX: Final = 100
"""Reasons are literals of the code, far fewer; the limit caps cardinality if a bug invents reasons."""
RECORDS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
SECONDS_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
ATTEMPT_RESULTS: Final = ("finished", "failed", "cancelled")
BATCH_RESULTS: Final = ("committed", "retried", "failed")


class Metrics:
    """The counters and histograms of one service process."""

    def __init__(
        self,
        *,
        service: str,
        events: EventRegistry,
        kinds: Sequence[str],
        counters: Sequence[EventCounter],
        rules: Mapping[str, str],
    ) -> None:
        """Count for `service`: `events`, effects of `kinds`, and what `counters` ask for."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._kinds = frozenset(kinds)
        self._gauge(BUILD).labels(service, version("perennial")).set(1)
        files = self._gauge(RULES)
        for name, digest in rules.items():
            files.labels(service, name, digest).set(1)
        self._batches, self._records = self._counter(BATCHES), self._counter(RECORDS)
        self._seeks = self._counter(SEEKS)
        self._batch_records = self._histogram(BATCH_RECORDS, RECORDS_BUCKETS)
        self._batch_seconds = self._histogram(BATCH_SECONDS, SECONDS_BUCKETS)
        self._attempts = self._counter(ATTEMPTS)
        self._effect_seconds = self._histogram(EFFECT_SECONDS, SECONDS_BUCKETS)
        self._under_way = self._gauge(UNDER_WAY)
        self._events = self._counter(EVENTS)
        self._business = BusinessCounters(counters, events, self.registry)
        self._reasons: set[tuple[str, str]] = set()
        self._start_at_zero(kinds, events)

    @classmethod
    def of(cls, processor: Processor) -> Self:
        kinds = tuple(processor.effects)
        return cls(
            service=processor.group,
            events=processor.events,
            kinds=kinds,
            counters=processor.counters,
            rules=processor.rules,
        )

    def batch_committed(self, records: int, seconds: float, outcomes: Mapping[str, int]) -> None:
        """Count a batch whose transaction is committed."""
        self._batches.labels("committed").inc()
        self._batch_records.observe(records)
        self._batch_seconds.observe(seconds)
        self.outcomes(outcomes)

    def batch_not_committed(self, *, comes_again: bool) -> None:
        """Count a batch that was rolled back."""
        self._batches.labels("retried" if comes_again else "failed").inc()

    def outcomes(self, outcomes: Mapping[str, int]) -> None:
        """Count records by what became of them: `applied`, `ignored:<reason>` and so on."""
        for text, count in outcomes.items():
            outcome, _, reason = text.partition(":")
            key = (outcome, reason)
            if key not in self._reasons:
                if len(self._reasons) >= REASONS_MAX:
                    key = (outcome, OTHER)
                self._reasons.add(key)
            self._records.labels(*key).inc(count)

    def sought(self, partitions: int) -> None:
        """Count partitions whose consumer was sent to the cursor."""
        self._seeks.inc(partitions)

    def committed(self, facts: Sequence[Event]) -> None:
        """Count events that a transaction has committed; call it once for each transaction."""
        types = Tally(type(fact) for fact in facts)
        for model, count in types.items():
            self._events.labels(model.__name__).inc(count)
        self._business.committed(facts)

    def measured(self, effects: Mapping[str, Effect]) -> dict[str, Effect]:
        """Return the same effects, each attempt counted and timed."""
        return {
            kind: replace(effect, execute=self._measured(kind, effect.execute))
            for kind, effect in effects.items()
        }

    def _measured(self, kind: str, executor: Executor) -> Executor:
        under_way, seconds = self._under_way.labels(kind), self._effect_seconds.labels(kind)
        results = {result: self._attempts.labels(kind, result) for result in ATTEMPT_RESULTS}

        async def attempt(run: EffectRun, mark: Mark) -> object:
            started, result = time.perf_counter(), "cancelled"
            under_way.inc()
            try:
                command = await executor(run, mark)
                result = "finished"
            except Exception:
                result = "failed"
                raise
            else:
                return command
            finally:
                under_way.dec()
                results[result].inc()
                seconds.observe(time.perf_counter() - started)

        return attempt

    def _start_at_zero(self, kinds: Sequence[str], events: EventRegistry) -> None:
        """Show what may happen before it does: a first increase from nothing would go unseen."""
        for result in BATCH_RESULTS:
            self._batches.labels(result)
        for kind in kinds:
            self._under_way.labels(kind)
            self._effect_seconds.labels(kind)
            for result in ATTEMPT_RESULTS:
                self._attempts.labels(kind, result)
        for model in events.types.values():
            self._events.labels(model.__name__)

    def _counter(self, meaning: Meaning) -> Counter:
        name = PREFIX + meaning.name
        return Counter(name, meaning.meaning, meaning.labels, registry=self.registry)

    def _gauge(self, meaning: Meaning) -> Gauge:
        name = PREFIX + meaning.name
        return Gauge(name, meaning.meaning, meaning.labels, registry=self.registry)

    def _histogram(self, meaning: Meaning, buckets: Sequence[float]) -> Histogram:
        return Histogram(
            PREFIX + meaning.name,
            meaning.meaning,
            meaning.labels,
            buckets=buckets,
            registry=self.registry,
        )


class BusinessCounters:
    """Counts committed events by what the service declared about them."""

    def __init__(
        self, counters: Sequence[EventCounter], events: EventRegistry, registry: CollectorRegistry
    ) -> None:
        """Make a Prometheus counter of each of `counters`."""
        self._declared = {counter.name: counter for counter in counters}
        self._made = {
            counter.name: Counter(
                PREFIX + counter.name, counter.meaning, counter.labels, registry=registry
            )
            for counter in counters
        }
        for counter in counters:
            for labels in sorted(counter.series) if not counter.sparse else ():
                self._made[counter.name].labels(*labels)
        self._by_type = {
            model: [
                (counter.name, counter.count[model])
                for counter in counters
                if model in counter.count
            ]
            for model in events.types.values()
        }

    def committed(self, facts: Sequence[Event]) -> None:
        """Add up a whole transaction first: a lock for each series that grew, not for each event."""
        grown: Tally[tuple[str, Labels]] = Tally()
        for fact in facts:
            for name, count in self._by_type.get(type(fact), ()):
                labels, by = count(fact)
                grown[name, labels] += by
        for (name, labels), by in grown.items():
            known = labels if labels in self._declared[name].series else (OTHER,) * len(labels)
            self._made[name].labels(*known).inc(by)

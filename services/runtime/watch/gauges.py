"""Turns what was observed into Prometheus gauges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.registry import EventRegistry
from services.runtime.clock.database_clock import ClockCounts
from services.runtime.flow.publishing.relay import RelayCounts
from services.runtime.log.tables.effects import EffectState
from services.runtime.metrics.meanings import (
    CLOCK_JUMPS,
    FAILURES,
    OBSERVED,
    OTHER,
    PREFIX,
    PUBLISHED,
    RELAY,
    Meaning,
)
from services.runtime.verify.head_writer import KeptHeads
from services.runtime.watch.observed import BrokerView, DatabaseView, View

DEAD_LETTER_REASONS_MAX: Final = 30
Series = dict[tuple[str, ...], float]
Values = dict[str, Series]


class ObservedCollector(Collector):
    """Gives the last view as gauges; looks at nothing itself."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        events: EventRegistry,
        kinds: Sequence[str],
        topics: Sequence[str],
        shards: int,
        dead_letter_limit: int,
        relay: RelayCounts,
        clock: ClockCounts,
        heads: KeptHeads | None = None,
    ) -> None:
        """Know the closed sets of labels and the limits; the others count themselves."""
        self._kinds = tuple(sorted(kinds))
        self._events = events
        self._topics = topics
        self._shards = shards
        self._dead_letter_limit = dead_letter_limit
        self.view = View()
        self._relay = relay
        self._clock = clock
        self._heads = heads

    def describe(self) -> Iterable[Metric]:
        return [_family(each) for each in (*OBSERVED, *RELAY)]

    def collect(self) -> Iterator[Metric]:
        """Yield what the last view holds."""
        values = self._values(self.view)
        for each in (*OBSERVED, *RELAY):
            if each.name in values:
                family = _family(each)
                for labels, value in values[each.name].items():
                    family.add_metric(labels, value)
                yield family

    def _values(self, view: View) -> Values:
        values: Values = {
            "database_up": {(): view.database is not None},
            "kafka_up": {(): view.broker is not None or not view.partitions},
            "partitions_assigned": {
                (topic,): sum(held == topic for held, _ in view.partitions)
                for topic in self._topics
            },
            "shards": {(): self._shards},
            "dead_letters_limit": {(): self._dead_letter_limit},
            PUBLISHED.name: {
                ("event",): self._relay.events,
                ("dead_letter",): self._relay.dead_letters,
            },
            FAILURES.name: {(): self._relay.failures},
            CLOCK_JUMPS.name: {(): self._clock.jumps},
            "clock_disputed": {(): self._clock.disputed},
            "clock_difference_seconds": {
                ("database",): self._clock.database,
                ("process",): self._clock.wall,
            },
        }
        if self._heads is not None:
            values["heads_kept_timestamp_seconds"] = {(): self._heads.at}
            values["heads_kept_interval_seconds"] = {(): self._heads.interval_seconds}
        if view.database is not None:
            values |= self._of_database(view.database)
        if view.broker is not None:
            values |= _offsets(view.broker)
        if view.broker is not None and view.database is not None:
            values["consumer_lag_records"] = _lag(view.broker, view.database)
        return values

    def _of_database(self, database: DatabaseView) -> Values:
        parked: Series = {
            (str(row["shard"]), row["reason"], self._event_name(row["event_type"])): 1
            for row in database.parked
        }
        cursors: Series = {
            (topic, str(partition)): offset
            for (topic, partition), offset in database.cursors.items()
        }
        return {
            **_log(database),
            **self._effects(database),
            **_dead_letters(database),
            "shard_parked": parked,
            "consumer_cursor_offset": cursors,
        }

    def _event_name(self, event_type: str) -> str:
        model = self._events.types.get(event_type)
        return model.__name__ if model else OTHER

    def _effects(self, database: DatabaseView) -> Values:
        keys = [(kind, state) for kind in self._kinds for state in EffectState]
        count: Series = dict.fromkeys(keys, 0)
        age: Series = dict.fromkeys(keys, 0)
        overdue: Series = {(kind,): 0 for kind in self._kinds}
        aside: Series = dict.fromkeys(overdue, 0)
        for row in database.effects:
            kind = row["kind"] if row["kind"] in self._kinds else OTHER
            key = (kind, row["state"])
            aside[kind,] = aside.get((kind,), 0) + row["aside"]
            count[key] = count.get(key, 0) + row["effects"]
            age[key] = max(age.get(key, 0), row["age_seconds"])
            if row["state"] == EffectState.DUE:
                overdue[kind,] = max(overdue.get((kind,), 0), row["overdue_seconds"])
        return {
            "effects": count,
            "effects_oldest_age_seconds": age,
            "effects_overdue_seconds": overdue,
            "effects_set_aside": aside,
        }


def _family(meaning: Meaning) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if meaning.type == "counter" else GaugeMetricFamily
    return make(PREFIX + meaning.name, meaning.meaning, labels=meaning.labels)


def _log(database: DatabaseView) -> Values:
    by_shard = {(str(row["shard"]),): row for row in database.shards}
    return {
        "log_head_position": {at: row["head_position"] for at, row in by_shard.items()},
        "log_published_position": {at: row["published_position"] for at, row in by_shard.items()},
        "log_unpublished_age_seconds": {
            at: row["unpublished_seconds"] or 0 for at, row in by_shard.items()
        },
    }


def _dead_letters(database: DatabaseView) -> Values:
    by_reason: Series = defaultdict(float)
    for number, row in enumerate(database.dead_letters):
        reason = row["reason"] if number < DEAD_LETTER_REASONS_MAX else OTHER
        by_reason[reason,] += row["letters"]
    ages = [row["age_seconds"] for row in database.dead_letters]
    return {
        "dead_letters_overflow": {(): database.overflow},
        "dead_letters_open": by_reason,
        "dead_letters_oldest_age_seconds": {(): max(ages, default=0)},
        "dead_letters_unpublished": {(): sum(row["unsent"] for row in database.dead_letters)},
    }


def _offsets(broker: BrokerView) -> Values:
    return {
        "topic_start_offset": {(t, str(p)): offset for (t, p), offset in broker.starts.items()},
        "topic_end_offset": {(t, str(p)): offset for (t, p), offset in broker.ends.items()},
        "topic_held_back_records": {(t, str(p)): h.records for (t, p), h in broker.held.items()},
        "topic_held_back_seconds": {(t, str(p)): h.seconds for (t, p), h in broker.held.items()},
        "consumer_group_lag_records": {
            (t, str(p)): max(0, broker.ends[t, p] - offset)
            for (t, p), offset in broker.committed.items()
            if (t, p) in broker.ends
        },
    }


def _lag(broker: BrokerView, database: DatabaseView) -> Series:
    return {
        (topic, str(partition)): max(0, end - database.cursors.get((topic, partition), 0))
        for (topic, partition), end in broker.ends.items()
    }

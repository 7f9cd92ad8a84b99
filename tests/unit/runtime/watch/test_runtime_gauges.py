"""The page of `/metrics`: what was observed as gauges, and what becomes of silent servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas import BILLING
from services.runtime.clock.database_clock import ClockCounts
from services.runtime.flow.publishing.relay import RelayCounts
from services.runtime.kafka.held_back import Held, HeldBack
from services.runtime.metrics.metrics import Metrics
from services.runtime.watch import observed
from services.runtime.watch.exposition import MetricsPage
from services.runtime.watch.gauges import DEAD_LETTER_REASONS_MAX, ObservedCollector
from services.runtime.watch.observed import BrokerView, DatabaseView, Observer, View

TOPIC = "billing.requests.v1"
HELD = frozenset({(TOPIC, 0), (TOPIC, 1)})
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def database(**changed: Any) -> DatabaseView:
    shard = {"shard": 0, "head_position": 12, "published_position": 9, "unpublished_seconds": 1.5}
    view: dict[str, Any] = {
        "shards": [shard, shard | {"shard": 1, "unpublished_seconds": None}],
        "effects": [],
        "dead_letters": [],
        "cursors": {(TOPIC, 0): 40, (TOPIC, 1): 7},
    }
    return DatabaseView(**(view | changed))


BROKER = BrokerView(
    starts={(TOPIC, 0): 10, (TOPIC, 1): 0},
    ends={(TOPIC, 0): 50, (TOPIC, 1): 7},
    committed={(TOPIC, 0): 38},
    held={(TOPIC, 0): Held(3, 61.5), (TOPIC, 1): Held()},
)


async def samples(view: View) -> Samples:
    async def look() -> View:
        return view

    metrics = Metrics(service="orders", events=BILLING, kinds=("charge",), counters=(), rules={})
    collector = ObservedCollector(
        events=BILLING,
        kinds=("charge",),
        topics=[TOPIC],
        shards=2,
        dead_letter_limit=100,
        relay=RelayCounts(events=5, dead_letters=1, failures=2),
        clock=ClockCounts(jumps=1, disputed=True, database=3_600.0, wall=-2.0),
    )
    text, content_type = await MetricsPage(metrics.registry, collector, look).text("")
    assert content_type.startswith("text/plain")
    return {
        (sample.name.removeprefix("perennial_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


async def test_lag_is_the_distance_from_the_cursor_and_separately_from_the_commit() -> None:
    found = await samples(View(database(), BROKER, HELD))

    assert found[at("consumer_lag_records", topic=TOPIC, partition="0")] == 10
    assert found[at("consumer_group_lag_records", topic=TOPIC, partition="0")] == 12
    assert found[at("consumer_lag_records", topic=TOPIC, partition="1")] == 0
    assert at("consumer_group_lag_records", topic=TOPIC, partition="1") not in found
    assert found[at("topic_start_offset", topic=TOPIC, partition="0")] == 10
    assert found[at("partitions_assigned", topic=TOPIC)] == 2


async def test_what_an_open_transaction_holds_back_is_shown_beside_the_lag() -> None:
    found = await samples(View(database(), BROKER, HELD))

    assert found[at("topic_held_back_records", topic=TOPIC, partition="0")] == 3
    assert found[at("topic_held_back_seconds", topic=TOPIC, partition="0")] == 61.5
    assert found[at("topic_held_back_records", topic=TOPIC, partition="1")] == 0
    assert found[at("consumer_lag_records", topic=TOPIC, partition="0")] == 10


async def test_log_and_relay_are_shown() -> None:
    found = await samples(View(database(), BROKER, HELD))

    assert found[at("log_head_position", shard="0")] == 12
    assert found[at("log_published_position", shard="0")] == 9
    assert found[at("log_unpublished_age_seconds", shard="0")] == 1.5
    assert found[at("log_unpublished_age_seconds", shard="1")] == 0
    assert found[at("relay_published_messages_total", content="event")] == 5
    assert found[at("relay_published_messages_total", content="dead_letter")] == 1
    assert found[at("relay_failures_total")] == 2


async def test_effects_are_shown_by_kind_and_state_and_unknown_kinds_as_other() -> None:
    def row(kind: str, state: str, age: float) -> dict[str, Any]:
        due = {"age_seconds": age, "overdue_seconds": age / 2}
        return {"kind": kind, "state": state, "effects": 3, "aside": 1, **due}

    rows = [row("charge", "due", 8), *(row(f"old-{n}", "due", n) for n in range(20))]
    found = await samples(View(database(effects=rows), BROKER, HELD))

    assert found[at("effects", kind="charge", state="due")] == 3
    assert found[at("effects_oldest_age_seconds", kind="charge", state="due")] == 8
    assert found[at("effects_overdue_seconds", kind="charge")] == 4
    assert found[at("effects", kind="charge", state="running")] == 0
    assert found[at("effects", kind="other", state="due")] == 60
    assert found[at("effects_overdue_seconds", kind="other")] == 9.5
    assert {dict(labels)["kind"] for name, labels in found if name == "effects"} == {
        "charge",
        "other",
    }


async def test_dead_letters_are_shown_by_reason_and_many_reasons_as_other() -> None:
    rows: list[dict[str, Any]] = [
        {"reason": f"reason-{n}", "letters": 100 - n, "unsent": 1, "age_seconds": n}
        for n in range(60)
    ]
    found = await samples(View(database(dead_letters=rows), BROKER, HELD))

    reasons = {dict(labels)["reason"] for name, labels in found if name == "dead_letters_open"}
    assert len(reasons) == DEAD_LETTER_REASONS_MAX + 1
    assert found[at("dead_letters_open", reason="reason-0")] == 100
    assert sum(n for (name, _), n in found.items() if name == "dead_letters_open") == sum(
        row["letters"] for row in rows
    )
    assert found[at("dead_letters_oldest_age_seconds")] == 59
    assert found[at("dead_letters_unpublished")] == 60
    assert found[at("dead_letters_limit")] == 100


async def test_silent_server_leaves_its_gauges_out_and_everything_else_there() -> None:
    found = await samples(View(None, BROKER, HELD))

    assert found[at("database_up")] == 0
    assert found[at("kafka_up")] == 1
    assert not [name for name, _ in found if name.startswith(("log_", "consumer_lag"))]
    assert found[at("consumer_group_lag_records", topic=TOPIC, partition="0")] == 12
    assert found[at("batches_total", result="committed")] == 0
    without_broker = await samples(View(database(), None, HELD))
    assert without_broker[at("kafka_up")] == 0
    assert without_broker[at("log_head_position", shard="0")] == 12


async def test_spare_process_without_partitions_does_not_say_that_kafka_is_away() -> None:
    found = await samples(View(database(), None, frozenset()))

    assert found[at("kafka_up")] == 1
    assert found[at("partitions_assigned", topic=TOPIC)] == 0


class Pool:
    """A pool whose connection answers, fails or never answers."""

    def __init__(self, trouble: Exception | None = None, *, silent: bool = False) -> None:
        self.trouble = trouble
        self.silent = silent
        self.readings = 0

    @asynccontextmanager
    async def acquire(self, **_: object) -> AsyncIterator[Pool]:
        self.readings += 1
        yield self

    @asynccontextmanager
    async def transaction(self, **_: object) -> AsyncIterator[None]:
        yield

    async def fetch(self, _query: str) -> list[Any]:
        if self.silent:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return []


class Clock:
    """Moves when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def observer_of(pool: Pool, clock: Clock) -> Observer:
    return Observer(
        pool=cast("asyncpg.Pool", pool),
        consumer=lambda: None,
        partitions=lambda: HELD,
        held_back=HeldBack(clock),
        monotonic=clock,
    )


async def test_reading_is_kept_for_a_moment() -> None:
    pool, clock = Pool(), Clock()
    observer = observer_of(pool, clock)

    for _ in range(5):
        assert (await observer.look()).database is not None
    assert pool.readings == 1
    clock.now += observed.KEPT_SECONDS
    await observer.look()
    assert pool.readings == 2


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.UndefinedTableError(),
        asyncpg.QueryCanceledError(),
    ],
)
async def test_database_that_refuses_is_not_seen(trouble: Exception) -> None:
    view = await observer_of(Pool(trouble), Clock()).look()
    assert view == View(None, None, HELD)


async def test_database_that_never_answers_costs_a_scrape_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observed, "READ_SECONDS", 0.05)
    pool, clock = Pool(silent=True), Clock()
    observer = observer_of(pool, clock)

    started = time.monotonic()
    view = await observer.look()

    assert view.database is None
    assert time.monotonic() - started < 2
    await observer.close()

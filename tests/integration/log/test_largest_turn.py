"""A turn at its largest: its time and memory are bounded, and all of it is written or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid5

import psutil
import pytest

from services.runtime.effect import Start
from services.runtime.errors import VersionConflict
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.log.event_log import StoredEvent, Transaction, chain_hash
from tests.contract.test_event_log import NAMESPACE, SOURCE
from tests.controls import T0
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import SHARD, SHARDS, Count, Toy, request

EFFECTS: Final = 500
RECORDS: Final = 1_000
MIB: Final = 1 << 20
BODIES: Final = (1, 32, 33)
"""Of 1 MiB each: as many as go as arguments, and one more, which are copied."""
CPU_SECONDS_MAX: Final = 10.0
"""Of this process; what the machine does besides does not count."""


@dataclass(slots=True)
class Cost:
    """What a turn took of this process."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure the CPU time, and by how much the memory grew at its highest."""
    process, cost, ended = psutil.Process(), Cost(), threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not ended.wait(0.002):
            cost.memory_bytes = max(cost.memory_bytes, process.memory_info().rss - before)

    watching = threading.Thread(target=watch)
    watching.start()
    started = time.process_time()
    try:
        yield cost
    finally:
        cost.cpu_seconds = time.process_time() - started
        ended.set()
        watching.join()


def many(command: Count) -> tuple[Start, ...]:
    """Return as many effects as a turn has room for, each as large as a request."""
    payload = {"text": "x" * (BODY_BYTES_MAX - 20)}
    numbers = range(EFFECTS if command.amount == EFFECTS else 0)
    return tuple(Start(f"{command.topup_id}/{n}", "greet", payload) for n in numbers)


@pytest.fixture
async def toys(fresh_database: str) -> AsyncIterator[ToyDatabase]:
    async with open_toy_database(fresh_database, Toy(effects=many)) as toys:
        yield toys


async def test_turn_begins_five_hundred_effects_of_the_largest_payload(toys: ToyDatabase) -> None:
    with measured() as cost:
        result = await toys.intake.handle([request(0, topup_id="many", amount=EFFECTS)])

    assert (result.events, len(result.leased)) == (1, EFFECTS)
    [row] = await toys.pool.fetch(
        "SELECT count(*), sum(length(payload ->> 'text')) AS size, count(lease_until) AS leased"
        " FROM effect"
    )
    assert tuple(row) == (EFFECTS, EFFECTS * (BODY_BYTES_MAX - 20), EFFECTS)
    assert cost.cpu_seconds < CPU_SECONDS_MAX
    assert cost.memory_bytes < 8 * EFFECTS * BODY_BYTES_MAX


async def test_batch_of_a_thousand_records_is_one_turn(toys: ToyDatabase) -> None:
    records = [request(n, topup_id=f"t-{n}") for n in range(RECORDS)]

    with measured() as cost:
        result = await toys.intake.handle(records)

    assert (result.events, dict(result.outcomes)) == (RECORDS, {"applied": RECORDS})
    assert (await toys.log.ends())[SHARD].position == RECORDS
    assert await toys.pool.fetchval("SELECT count(DISTINCT recorded_at) FROM event") == 1
    assert cost.cpu_seconds < CPU_SECONDS_MAX
    assert cost.memory_bytes < 64 * MIB


def large(tx: Transaction, number: int) -> StoredEvent:
    """Return the next event of the shard, of 1 MiB."""
    head = tx.heads[SHARD]
    bare = StoredEvent(
        shard=SHARD,
        position=head.position + 1,
        stream_id=f"order/{number}",
        stream_version=1,
        event_id=uuid5(NAMESPACE, f"{number}"),
        source=SOURCE,
        type="billing.OrderExpired.v1",
        sequence=head.sequence + 1,
        account_id="acct-1",
        correlation_id="r-1",
        causation_id=None,
        traceparent=None,
        occurred_at=T0,
        recorded_at=T0,
        body=b"%07d" % number + b"x" * (MIB - 7),
    )
    event = bare._replace(hash=chain_hash(head.hash, bare))
    head.position, head.hash, head.sequence = event.position, event.hash, event.sequence
    return event


@pytest.mark.parametrize("count", BODIES)
async def test_bodies_of_a_mebibyte_are_written_and_read_in_bounded_memory(
    toys: ToyDatabase, count: int
) -> None:
    with measured() as cost:
        async with toys.log.transaction(shards=[SHARD]) as tx:
            await tx.append([large(tx, number) for number in range(count)])
        found = await toys.log.unpublished(SOURCE, range(SHARDS), limit=500)

    assert [len(each.body) for each in found[SHARD].events] == [MIB] * count
    assert cost.cpu_seconds < CPU_SECONDS_MAX
    assert cost.memory_bytes < (8 * count + 16) * MIB


async def test_largest_turn_that_conflicts_leaves_nothing(toys: ToyDatabase) -> None:
    async with toys.log.transaction(shards=[SHARD]) as tx:
        await tx.append([large(tx, 7)])

    async def conflicting() -> None:
        async with toys.log.transaction(shards=[SHARD]) as tx:
            await tx.append([large(tx, number) for number in range(1, 34)])

    with pytest.raises(VersionConflict):
        await conflicting()
    assert (await toys.log.ends())[SHARD].position == 1
    assert await toys.pool.fetchval("SELECT count(*) FROM event") == 1

"""Publishes the demo's records phase by phase and waits for what must come of each phase."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaProducer

from deploy.demo.expected.outcomes import Counts, flat
from deploy.demo.expected.records import RawRecord
from deploy.demo.observer import DemoObserver
from deploy.demo.publish import load_records, partition_of
from deploy.demo.tally import Tally
from deploy.local.services import SERVICES, LocalAddresses
from schemas.access import OBSERVER
from schemas.registry import Topic
from schemas.topics import CONFIRMATIONS, REQUESTS
from services.orders.sandbox_journal import GATEWAY_JOURNAL, SandboxJournal
from services.runtime.kafka.client import client_options

STALLED_SECONDS: Final = 30
_QUIET_SECONDS: Final = 1.0
_ACCEPTED: Final = frozenset({"RenewalAccepted", "TopUpAccepted"})

Progress = Callable[[str, int, int], None]
"""Told (what is going on, events seen, events expected until the end of the phase)."""


async def run_phases(
    addresses: LocalAddresses, manifest: Mapping[str, Any], progress: Progress
) -> tuple[Tally, dict[str, float], float]:
    """Publish everything; return what was seen, the seconds of each phase, and renewals/s.

    The rate is that of the first phase, from the first request to the last PlanActivated.

    A phase that stalls ends all the same: the comparison with the manifest then says what is missing.
    """
    seconds: dict[str, float] = {}
    expected: Counts = Counter()
    rate = 0.0
    tally = Tally(manifest["detail_fields"])
    async with DemoObserver(addresses.kafka_settings(OBSERVER), tally):
        for phase, records in groupby(load_records(), key=lambda record: record.phase):
            started = time.monotonic()
            expected += flat(manifest["outcomes_by_phase"].get(str(phase), {}))
            requests, confirmations = _by_topic(records)
            await _publish(addresses, REQUESTS, requests)
            _pay(addresses.sandbox_folder, confirmations)
            if confirmations:
                await _wait_for_outcomes(tally, _accepted(expected), f"phase {phase}", progress)
                await _publish(addresses, CONFIRMATIONS, confirmations)
            await _wait_for_outcomes(tally, expected, f"phase {phase}", progress)
            seconds[f"phase {phase}"] = time.monotonic() - started
            if not rate:
                taken = tally.last_seen.get("PlanActivated", time.monotonic()) - started
                rate = (
                    sum(n for (name, _), n in expected.items() if name == "PlanActivated") / taken
                )
        started = time.monotonic()
        await _wait_until_settled(addresses, tally)
        seconds["settling"] = time.monotonic() - started
    return tally, seconds, rate


def _by_topic(records: Iterable[RawRecord]) -> tuple[list[RawRecord], list[RawRecord]]:
    """Return the requests and the confirmations: customers pay what was accepted."""
    parts: tuple[list[RawRecord], list[RawRecord]] = ([], [])
    for record in records:
        parts[record.topic == CONFIRMATIONS.name].append(record)
    return parts


def _pay(sandbox_folder: Path, confirmations: Iterable[RawRecord]) -> None:
    """Write into the gateway's journal what the customers paid in the app."""
    with closing(SandboxJournal(sandbox_folder / GATEWAY_JOURNAL)) as journal, journal.locked():
        for paid in (record.paid for record in confirmations if record.paid):
            key = f"{paid['gateway']}/{paid['txn']}"
            if journal.first("payment", key) is None:
                journal.append("payment", key, **{k: v for k, v in paid.items() if k != "gateway"})


def _accepted(expected: Counts) -> Counts:
    return Counter({key: n for key, n in expected.items() if key[0] in _ACCEPTED})


async def _publish(addresses: LocalAddresses, topic: Topic, records: Sequence[RawRecord]) -> None:
    """Publish what is for `topic`, as the user of the broker that may."""
    producer = AIOKafkaProducer(
        **client_options(addresses.kafka_settings(topic.written_by)),
        acks="all",
        enable_idempotence=True,
        max_request_size=2_000_000,
    )
    await producer.start()
    try:
        partitions = len(await producer.partitions_for(topic.name))
        sent = [
            await producer.send(
                topic.name,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                partition=partition_of(record, partitions),
            )
            for record in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def _wait_for_outcomes(
    tally: Tally, expected: Counts, phase: str, progress: Progress
) -> None:
    last_seen, last_change = tally.total, time.monotonic()
    while missing := tally.missing(expected):
        progress(phase, expected.total() - missing, expected.total())
        if tally.total != last_seen:
            last_seen, last_change = tally.total, time.monotonic()
        elif time.monotonic() - last_change > STALLED_SECONDS:
            return
        await asyncio.sleep(0.1)
    progress(phase, expected.total(), expected.total())


async def _wait_until_settled(addresses: LocalAddresses, tally: Tally) -> None:
    """Return when no effect waits anywhere and nothing new has come for a while."""
    ends_at = time.monotonic() + STALLED_SECONDS
    last_seen, last_change = -1, time.monotonic()
    while time.monotonic() < ends_at:
        waiting = sum([await _count(addresses, service, "effect") for service in SERVICES])
        if waiting or tally.total != last_seen:
            last_seen, last_change = tally.total, time.monotonic()
        elif time.monotonic() - last_change > _QUIET_SECONDS:
            return
        await asyncio.sleep(0.2)


async def dead_letters(addresses: LocalAddresses) -> Counts:
    """Return the dead letters of all services as (group, reason) -> how many."""
    found: Counts = Counter()
    for service in SERVICES:
        rows = await _fetch(
            addresses, service, "SELECT reason, count(*) AS n FROM dead_letter GROUP BY reason"
        )
        found.update({(service, row["reason"]): row["n"] for row in rows})
    return found


async def _count(addresses: LocalAddresses, service: str, table: str) -> int:
    rows = await _fetch(addresses, service, f"SELECT count(*) AS n FROM {table}")  # noqa: S608
    count: int = rows[0]["n"]
    return count


async def _fetch(addresses: LocalAddresses, service: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(
        addresses.postgres[service], server_settings={"search_path": service}
    )
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()

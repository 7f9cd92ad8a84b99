"""What it costs to vouch for an event and to believe it, beside writing and reading its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.bench.parts.events import stored_events
from deploy.bench.results.figures import Figure
from deploy.bench.results.plan import BenchPlan
from deploy.bench.rig import Rig
from deploy.bench.system.load import Load
from schemas import BILLING
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import ORDERS, TOPICS
from services.runtime.authenticity import EventKeys, EventVerifier
from services.runtime.kafka.records.cloudevents import binary_headers, read_record
from services.runtime.kafka.records.record_size import Headers
from services.runtime.log.event_log import ShardHead, StoredEvent

_RENEWALS: Final = 2_000
_REPEATS: Final = 5
"""The fastest counts: noise only ever adds."""


@dataclass(slots=True)
class _Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def mac(rig: Rig, _plan: BenchPlan) -> list[Figure]:
    """Return the microseconds that it takes to vouch for an event to all readers, and to check it."""
    keys = EventKeys.read(rig.stack.event_keys_file.read_text(encoding="utf-8"), TOPICS)
    signer, verifier = keys.signer("orders"), keys.verifier("ledger")
    heads = {shard: ShardHead() for shard in range(SHARD_COUNT_DEFAULT)}
    events = list(stored_events(Load("mac"), 0, _RENEWALS, heads))

    def record(event: StoredEvent) -> _Record:
        key, headers = event.account_id.encode(), binary_headers(event, BILLING)
        headers.append(signer.mac(ORDERS.name, event.shard, key, headers, event.body))
        return _Record(ORDERS.name, event.shard, 0, key, event.body, headers)

    records = [record(event) for event in events]
    made = _fastest(lambda: [record(event) for event in events])
    written = _fastest(
        lambda: [(event.account_id.encode(), binary_headers(event, BILLING)) for event in events]
    )
    checked = _fastest(lambda: _check(verifier, records))
    read = _fastest(lambda: [read_record(each) for each in records])
    per_event = 1e6 / len(events)
    note = f"{(made - written) * per_event:.1f} to make, {checked * per_event:.1f} to check"
    return [
        Figure(
            "mac",
            (made - written + checked) * per_event,
            "µs/event",
            "writing and reading the same record",
            (written + read) * per_event,
            "at most 1",
            note,
        )
    ]


def _check(verifier: EventVerifier, records: Sequence[_Record]) -> None:
    for each in records:
        verifier.check(each)


def _fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)

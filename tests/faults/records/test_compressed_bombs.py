"""Batches of a few kilobytes that hold gigabytes: letters, no stop, and memory within a bound."""

from __future__ import annotations

import re
from pathlib import Path

from confluent_kafka import Producer

from schemas.topics import REQUESTS
from services.runtime.kafka.records.partitions import shard_of
from tests.faults.requests import card_renewal
from tests.infrastructure.system import SHARDS, System

MIB = 1024 * 1024
HUGE_BYTES = 300 * 1000 * 1000
LARGE_BYTES = 8 * MIB - 1000
LARGE_COUNT = 200
GROWTH_BYTES_MAX = 96 * MIB
"""Beside its normal size: what is decompressed at once, what is fetched, and what a batch keeps."""
HOSTILE = "acct-hostile"


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def send_bombs(servers: str) -> None:
    """Send zeros behind zstd, each record in a batch of its own."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "compression.type": "zstd",
            "message.max.bytes": HUGE_BYTES + MIB,
            "batch.num.messages": 1,
            "partitioner": "murmur2_random",
        }
    )
    failed: list[str] = []
    for size in (HUGE_BYTES, *[LARGE_BYTES] * LARGE_COUNT):
        producer.produce(
            REQUESTS.name,
            value=bytes(size),
            key=HOSTILE.encode(),
            partition=shard_of(HOSTILE, SHARDS),
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
        producer.flush(120)
    assert not failed


def honest(first: int) -> list[dict[str, object]]:
    """Return renewals of accounts in every partition."""
    return [card_renewal(n, "honest") for n in range(first, first + 12)]


def test_batches_that_unpack_to_gigabytes_take_bounded_memory_and_stop_nobody(
    system: System,
) -> None:
    orders = system.start("orders")

    def accepted(count: int) -> bool:
        return len(system.events("orders", "RenewalAccepted")) == count

    system.publish("RenewalRequested", *honest(0))
    system.wait_for("the first are handled", lambda: accepted(12))
    normal = peak_bytes(orders.pid)
    send_bombs(system.infrastructure.bootstrap_servers)
    system.publish("RenewalRequested", *honest(100))
    system.wait_for("honest requests behind them are handled", lambda: accepted(24), seconds=120)

    def letters() -> dict[str, int]:
        rows = system.query(
            "orders",
            "SELECT reason, sum(letters)::int AS letters FROM (SELECT reason, 1 AS letters FROM"
            " dead_letter UNION ALL SELECT reason, letters FROM dead_letter_overflow) AS found"
            " GROUP BY reason",
        )
        return {row["reason"]: row["letters"] for row in rows}

    wanted = {"batch_unreadable": 1, "oversized": LARGE_COUNT}
    system.wait_for("each is a letter", lambda: letters() == wanted)
    growth = peak_bytes(orders.pid) - normal
    assert growth <= GROWTH_BYTES_MAX
    assert orders.exit_code is None

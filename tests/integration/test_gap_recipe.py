"""The program of docs/PUBLISHING.md for a gap in `ce_sequence`, and the operator's part of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas.topics import ORDERS
from services.runtime.kafka.records.partitions import shard_of
from tests.faults.recovery.recovery import recover
from tests.faults.requests import card_renewal
from tests.infrastructure.system import SHARDS, System

PAGE: Final = Path(__file__).parents[2] / "docs" / "PUBLISHING.md"
FIRST: Final = card_renewal(1, "first", token="tok_ok")
MORE: Final = [card_renewal(1, f"more-{number}", token="tok_ok") for number in range(2)]
SHARD: Final = shard_of(str(FIRST["account_id"]), SHARDS)
PARTITION: Final = TopicPartition(ORDERS.name, SHARD)
LOG: Final = f"/billing/orders {SHARD}"


@dataclass
class Reader:
    """An outsider who runs the program of the page, each time as a new process."""

    servers: str
    kept: Path
    group: str
    said: str = field(default="", init=False)

    def read(self) -> tuple[int, list[int]]:
        """Return the exit status, and the numbers that were taken."""
        _, _, after = PAGE.read_text("utf-8").partition("### A gap in `ce_sequence`")
        program = after.partition("```python\n")[2].partition("\n```")[0]
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ
            | {"BOOTSTRAP_SERVERS": self.servers, "KEPT": str(self.kept), "GROUP": self.group}
            | {"PATIENCE_SECONDS": "12"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        self.said = done.stderr
        return done.returncode, [int(line.split()[0]) for line in done.stdout.splitlines()]


async def skip_to(servers: str, group: str, offset: int) -> None:
    """Move the place of the group, as somebody does who resets its offsets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([PARTITION])
    await consumer.commit({PARTITION: offset})
    await consumer.stop()


async def delete_before(servers: str, offset: int) -> None:
    """Have the topic forget its beginning, as its retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.delete_records({PARTITION: RecordsToDelete(before_offset=offset)})
    await admin.close()


@pytest.fixture
def readers(system: System, tmp_path: Path) -> list[Reader]:
    """Two readers that took the three events of one renewal; six more are on the topic."""
    servers = system.infrastructure.bootstrap_servers
    both = [Reader(servers, tmp_path / name, f"outsider-{name}") for name in ("reset", "away")]
    system.start("orders")
    system.publish("RenewalRequested", FIRST)
    system.wait_for("3 events", lambda: len(system.records(ORDERS.name)) == 3)
    for reader in both:
        reader.kept.write_text(json.dumps({LOG: 3}))
    system.publish("RenewalRequested", *MORE)
    system.wait_for("9 events", lambda: len(system.records(ORDERS.name)) == 9)
    return both


def test_outsider_gets_every_event_once_and_in_order_over_a_gap(
    system: System, readers: list[Reader]
) -> None:
    servers, (reset, away) = system.infrastructure.bootstrap_servers, readers
    asyncio.run(skip_to(servers, reset.group, 6))
    assert reset.read() == (0, [4, 5, 6, 7, 8, 9])

    asyncio.run(delete_before(servers, 6))
    assert away.read() == (2, [])
    assert away.said == f"{LOG}: 4 is not on the topic: have it published again\n"

    assert system.children["orders"].stop() == 0
    recover(system, "republish", "orders", "--from-position", f"{SHARD}:1", "--yes")
    system.start("orders")
    system.wait_for("all of it again", lambda: len(system.records(ORDERS.name)) == 3 + 9)
    assert away.read() == (0, [4, 5, 6, 7, 8, 9])
    assert reset.read() == (0, [])

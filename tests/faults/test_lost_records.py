"""Records that are gone before they were read: the service stops with advice and guesses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid5

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.processes import Child
from schemas.topics import REQUESTS
from services.runtime.kafka.partitions import shard_of
from tests.faults.requests import account, card_renewal
from tests.infrastructure.system import SHARDS, System, request_headers

HALTED = 70
_NAMESPACE = UUID("5d0ad1d3-58c5-54d4-9a8e-6a1b30f1c9b2")
SHARD = shard_of(account(1), SHARDS)


def renewals(name: str, count: int) -> list[dict[str, object]]:
    """Return renewals of one account."""
    return [card_renewal(1, f"{name}-{number}", token="tok_ok") for number in range(count)]


def accepted(system: System, count: int) -> None:
    """Return when orders has accepted `count` renewals."""
    system.wait_for(
        f"{count} renewals", lambda: len(system.events("orders", "RenewalAccepted")) == count
    )


def halted(child: Child) -> str:
    """Return what a service says when it halts."""
    assert child.popen.wait(60) == HALTED
    last: str = json.loads(child.log.read_text().splitlines()[-1])["error"]
    return last


def with_admin(system: System, work: Callable[[AIOKafkaAdminClient], Awaitable[object]]) -> None:
    """Do something as the administrator of the broker."""

    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=system.infrastructure.bootstrap_servers)
        await admin.start()
        try:
            await work(admin)
        finally:
            await admin.close()

    asyncio.run(run())


def delete_requests(system: System, before: int) -> None:
    """Delete the requests of the one account before an offset."""
    partition = TopicPartition(REQUESTS.name, SHARD)
    with_admin(
        system,
        lambda admin: admin.delete_records({partition: RecordsToDelete(before_offset=before)}),
    )


def test_records_deleted_before_they_were_read_halt_the_service(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    accepted(system, 3)
    assert child.stop() == 0

    system.publish("RenewalRequested", *renewals("new", 4))
    delete_requests(system, before=5)

    error = halted(system.start("orders", wait=False))
    assert f"the cursor of {REQUESTS.name}/{SHARD} is 3 but the topic begins at 5" in error
    assert "docs/OPERATIONS.md" in error
    assert len(system.events("orders", "RenewalAccepted")) == 3


def test_records_deleted_after_they_were_read_are_not_missed(system: System) -> None:
    child = system.start("orders")
    system.publish("RenewalRequested", *renewals("old", 3))
    accepted(system, 3)
    assert child.stop() == 0
    delete_requests(system, before=3)

    system.start("orders")
    system.publish("RenewalRequested", *renewals("new", 2))

    accepted(system, 5)


def test_hole_that_a_transactional_upstream_leaves_is_passed(system: System) -> None:
    system.start("orders")
    for name in ("first", "second"):
        asyncio.run(publish_in_transaction(system, renewals(name, 2)))

    system.publish("RenewalRequested", *renewals("plain", 1))

    accepted(system, 5)
    cursor = system.query(
        "orders",
        "SELECT next_offset FROM cursor WHERE topic = $1 AND partition = $2",
        REQUESTS.name,
        SHARD,
    )
    assert cursor[0]["next_offset"] == 7


async def publish_in_transaction(system: System, requests: list[dict[str, object]]) -> None:
    """Publish in one transaction: its end takes an offset that holds no record."""
    producer = AIOKafkaProducer(
        bootstrap_servers=system.infrastructure.bootstrap_servers, transactional_id="upstream"
    )
    await producer.start()
    try:
        async with producer.transaction():
            for request in requests:
                headers = request_headers(
                    "RenewalRequested", uuid5(_NAMESPACE, json.dumps(request))
                )
                key, value = str(request["account_id"]).encode(), json.dumps(request).encode()
                await producer.send(REQUESTS.name, value, key=key, headers=headers, partition=SHARD)
    finally:
        await producer.stop()

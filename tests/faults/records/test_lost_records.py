"""Records that are gone before they were read: the service stops with advice and guesses nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid5

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import Producer

from deploy.local.processes import Child
from schemas.topics import REQUESTS
from services.runtime.kafka.records.partitions import shard_of
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
    try:
        assert child.popen.wait(60) == HALTED
    except subprocess.TimeoutExpired:
        raise child.failed("did not halt within 60 s") from None
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


def test_what_an_upstream_takes_back_charges_nobody_and_what_it_holds_open_delays_its_partition(
    system: System,
) -> None:
    system.start("orders", LOG_LEVEL="info", WATCHDOG_SECONDS="6")
    other = next(number for number in range(2, 99) if shard_of(account(number), SHARDS) != SHARD)
    servers = {"bootstrap.servers": system.infrastructure.bootstrap_servers}

    def upstream(name: str) -> Producer:
        producer = Producer(servers | {"transactional.id": name})
        producer.init_transactions(30)
        producer.begin_transaction()
        return producer

    def send(producer: Producer, requests: list[dict[str, object]]) -> None:
        for request in requests:
            producer.produce(REQUESTS.name, **message(request), partition=SHARD)
        assert producer.flush(30) == 0

    for round_ in ("once", "again"):
        taken_back = upstream("takes-back")
        send(taken_back, renewals(f"never-{round_}", 3))
        taken_back.abort_transaction(30)
    system.publish("RenewalRequested", *renewals("plain", 1))
    accepted(system, 1)

    holds_open = upstream("holds-open")
    send(holds_open, renewals("late", 2))
    system.publish("RenewalRequested", *renewals("behind", 1))
    system.publish("RenewalRequested", card_renewal(other, "elsewhere", token="tok_ok"))
    accepted(system, 2)
    system.start("orders", name="second")  # what is held open hangs nobody who starts
    time.sleep(13)  # longer than a consumer may stand still where records wait
    assert system.is_ready("orders")
    assert len(system.events("orders", "RenewalAccepted")) == 2

    holds_open.commit_transaction(30)
    accepted(system, 5)
    names = {event["renewal_id"] for event in system.events("orders", "RenewalAccepted")}
    assert not [name for name in names if "never" in name]
    system.wait_for("each paid", lambda: len(system.events("orders", "PaymentCaptured")) == 5)


def message(request: dict[str, object]) -> dict[str, Any]:
    """Return a request as confluent's producer takes it."""
    headers = request_headers("RenewalRequested", uuid5(_NAMESPACE, json.dumps(request)))
    return {
        "key": str(request["account_id"]).encode(),
        "value": json.dumps(request).encode(),
        "headers": headers,
    }


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

"""An upstream's transaction that is left open: who looks is told which partitions it holds up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Producer

from schemas.topics import REQUESTS
from services.cli.operation.survey import held_up
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.topics.broker_limits import TRANSACTION_MS_MAX, broker_problems
from services.runtime.watch.service_status import Bounds
from tests.faults.records.test_lost_records import message
from tests.faults.requests import account, card_renewal
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import SHARDS, System
from tests.integration.operation.test_operator_commands import perennial

SHARD = shard_of(account(1), SHARDS)
OTHER = (SHARD + 1) % SHARDS
WELL, TROUBLE = 0, 1


@contextmanager
def left_open(system: System, *partitions: int) -> Iterator[Producer]:
    """Leave a transaction open with two records in each partition; abort it in the end."""
    servers = system.infrastructure.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": system.folder.name})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in partitions:
        for number in range(2):
            request = card_renewal(1, f"open-{partition}-{number}", token="tok_ok")
            producer.produce(REQUESTS.name, **message(request), partition=partition)
    assert producer.flush(30) == 0
    try:
        yield producer
    finally:
        producer.abort_transaction(30)


def status(system: System) -> tuple[int, dict[str, Any]]:
    shown = perennial(system, "status", "--json")
    assert shown.stdout, shown.stderr
    return shown.returncode, json.loads(shown.stdout)


def test_status_names_the_partitions_that_an_open_transaction_holds_up(system: System) -> None:
    with left_open(system, SHARD, OTHER):
        system.publish("RenewalRequested", card_renewal(1, "behind", token="tok_ok"))
        code, found = status(system)

        assert code == TROUBLE
        assert sorted(found["problems"]) == sorted(
            f"{REQUESTS.name}/{partition} is read up to 0 and no further: an open transaction "
            f"holds back {count} records; see PerennialTransactionLeftOpen in docs/OPERATIONS.md"
            for partition, count in ((SHARD, 3), (OTHER, 2))
        )
        held = {
            each["partition"]: each["held_back"]
            for each in found["services"]["orders"]["partitions"]
            if each["topic"] == REQUESTS.name and each["held_back"]
        }
        assert held == {SHARD: 3, OTHER: 2}

    code, found = status(system)
    assert (code, found["problems"]) == (WELL, [])


def test_transactions_that_take_turns_are_named_though_the_partition_moves() -> None:
    before = Bounds(0, 100, 40)
    behind = {("moves", 0): before, ("goes on", 0): before, ("free", 0): before}
    now = {
        ("moves", 0): Bounds(0, 139, 60),
        ("goes on", 0): Bounds(0, 140, 60),
        ("free", 0): Bounds(0, 160),
    }
    [problem] = held_up(behind, now)
    assert problem.startswith("moves/0 is read up to 139 and no further: an open transaction holds")


def page(system: System, path: str) -> str:
    where = urlsplit(system.address("orders"))
    with closing(HTTPConnection(where.hostname or "", where.port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def gauge(system: System, name: str, partition: int) -> float:
    labels = f'{{partition="{partition}",topic="{REQUESTS.name}"}}'
    found = re.search(
        rf"^perennial_{name}{re.escape(labels)} (\S+)$", page(system, "/metrics"), re.MULTILINE
    )
    assert found, name
    return float(found[1])


def readiness(system: System) -> list[str]:
    found: list[str] = json.loads(page(system, "/readyz"))["held_back"]
    return found


def test_gauges_and_readiness_say_how_much_waits_and_for_how_long(system: System) -> None:
    system.start("orders")
    assert readiness(system) == []
    with left_open(system, SHARD):
        system.wait_for(
            "the gauge counts them",
            lambda: gauge(system, "topic_held_back_records", SHARD) == 2,
        )
        system.wait_for("time passes", lambda: gauge(system, "topic_held_back_seconds", SHARD) > 1)
        assert gauge(system, "topic_held_back_records", OTHER) == 0
        assert gauge(system, "topic_held_back_seconds", OTHER) == 0
        assert gauge(system, "consumer_lag_records", SHARD) == 0
        [said] = readiness(system)
        assert said.startswith(
            f"{REQUESTS.name}/{SHARD}: an open transaction holds back 2 records, for "
        )

    system.wait_for(
        "it is well again", lambda: gauge(system, "topic_held_back_records", SHARD) == 0
    )
    assert gauge(system, "topic_held_back_seconds", SHARD) == 0
    assert readiness(system) == []


async def test_broker_of_ours_ends_a_transaction_that_is_left_open_within_a_minute(
    infrastructure: Infrastructure,
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        assert await broker_problems(admin) == []
    finally:
        await admin.close()
    assert TRANSACTION_MS_MAX == 60_000

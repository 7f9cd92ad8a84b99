"""What the demo leaves on the topics, checked by a program that shares no code with the services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from deploy.demo.publish import MANIFEST_FILE
from deploy.demo.run import run_phases
from deploy.demo.timing import SETTINGS
from deploy.local.stack import LocalStack
from schemas.generation import JSON_SCHEMAS
from schemas.topics import ORDERS, REQUESTS
from tests.clients import toolchains
from tests.infrastructure.system import read_topics

CHECKS: Final = ("schema", "sequence", "event_ids", "terminal_events", "sums")
pytestmark = pytest.mark.timeout(600)  # the demo, on a busy machine


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that holds what the demo left: requests, good and bad, and all that became of them."""
    manifest = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
    with LocalStack(tmp_path_factory.mktemp("demo") / "state", fresh=True) as stack:
        stack.start({name: value for own in SETTINGS.values() for name, value in own.items()})
        asyncio.run(run_phases(stack.addresses(), manifest, lambda *_told: None))
        yield stack.bootstrap_servers


def report_of(servers: str) -> dict[str, Any]:
    """Return what the outsider says of the topics."""
    packages = toolchains.node_packages()
    checker = packages / "checker.mjs"
    checker.write_bytes((toolchains.HERE / "node" / "checker.mjs").read_bytes())
    said = toolchains.run(
        *(toolchains.NODE, checker, JSON_SCHEMAS), cwd=packages, env={"BOOTSTRAP_SERVERS": servers}
    )
    report: dict[str, Any] = json.loads(said)
    return report


@pytest.fixture(scope="module")
def report(servers: str) -> dict[str, Any]:
    return report_of(servers)


def test_outsider_reads_everything_that_the_demo_sent(report: dict[str, Any]) -> None:
    sent = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))["sent"]
    assert report["records"][REQUESTS.name] > 0
    assert sum(report["records"].values()) > sent["requests"]
    assert report["orders"] > 0
    assert report["dead_letters"] > 0
    assert set(report["problems"]) == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_outsider_finds_nothing_wrong(report: dict[str, Any], check: str) -> None:
    assert report["problems"][check] == []


def changed(record: Any, change: Callable[[dict[str, Any]], None]) -> bytes:
    data = json.loads(record.value)
    change(data)
    return json.dumps(data).encode()


def double_the_tax(data: dict[str, Any]) -> None:
    data["quote"]["tax"]["amount_minor"] += 1


def leave_out_the_plan(data: dict[str, Any]) -> None:
    del data["quote"]["plan_code"]


def test_outsider_names_what_is_wrong(servers: str, report: dict[str, Any]) -> None:
    """Last in this file: afterwards the topic holds what no service wrote."""
    assert report
    records = asyncio.run(read_orders(servers))
    accepted = next(each for each in records if name_of(each) == "billing.RenewalAccepted.v1")
    ended = [each for each in records if name_of(each) == "billing.PlanActivated.v1"][-1]
    forged = [
        (accepted, changed(accepted, double_the_tax)),
        (accepted, changed(accepted, leave_out_the_plan)),
        (ended, ended.value),
    ]
    asyncio.run(publish(servers, forged))

    problems = report_of(servers)["problems"]

    assert len(problems["sums"]) == 1
    assert len(problems["schema"]) == 1
    assert len(problems["terminal_events"]) == 1
    assert len(problems["event_ids"]) == len(forged)
    assert len(problems["sequence"]) == len(forged)


def name_of(record: Any) -> str:
    return str(dict(record.headers)["ce_type"].decode())


async def read_orders(servers: str) -> list[Any]:
    return await read_topics(servers, (ORDERS.name,))


async def publish(servers: str, forged: list[tuple[Any, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        for record, value in forged:
            await producer.send_and_wait(
                ORDERS.name,
                value,
                record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
    finally:
        await producer.stop()

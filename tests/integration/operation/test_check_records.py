"""`perennial check-records` on a real topic: what becomes of each record, and no trace of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import ORDERS, REQUESTS
from tests.infrastructure.system import System, request_headers

EMAIL = "lin.example@example.com"
TOP_UP = {
    "account_id": "acct-7",
    "topup_id": "top-7",
    "amount": {"amount_minor": 5000, "currency": "USD"},
    "payment": {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"},
    "requested_at": "2026-11-20T08:00:00Z",
}


def check_records(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    servers = system.infrastructure.bootstrap_servers
    return subprocess.run(
        [sys.executable, "-m", "services.cli", "check-records", *arguments],
        env=os.environ | {"PERENNIAL_BOOTSTRAP_SERVERS": servers},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def groups(servers: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        return {name for name, *_ in await admin.list_consumer_groups()}
    finally:
        await admin.close()


def test_each_record_is_told_of_with_its_place_and_nothing_is_left_behind(system: System) -> None:
    key = b"acct-7"
    headers = request_headers("TopUpRequested", uuid4())
    unknown = [(name, b"x" if name == "ce_type" else value) for name, value in headers]
    bad = json.dumps(TOP_UP | {"amount": EMAIL}).encode()
    system.publish("TopUpRequested", TOP_UP)
    system.publish_raw((key, bad, headers), (key, bad, unknown), (key, None, headers))
    servers = system.infrastructure.bootstrap_servers
    before = asyncio.run(groups(servers))

    done = check_records(system, REQUESTS.name, "--json")

    *rows, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert [each["outcome"] for each in rows] == ["accepted", "poison", "poison", "poison"]
    orders = [
        each["reason"] for row in rows for each in row["findings"] if each["service"] == "orders"
    ]
    assert orders == ["", "body_invalid", "unknown_event_type", "null_value"]
    assert last["summary"] == {"accepted": 1, "ignored": 0, "poison": 3, "ended": True}
    assert EMAIL not in done.stdout + done.stderr
    assert asyncio.run(groups(servers)) == before
    assert len(system.records(REQUESTS.name)) == len(rows)
    assert system.dead_letters("orders") == []


def test_empty_topic_ends_at_once_with_status_0(system: System) -> None:
    done = check_records(system, ORDERS.name)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 accepted, 0 ignored, 0 poison\n"


def test_name_that_is_neither_topic_nor_file_is_a_usage_error(system: System) -> None:
    done = check_records(system, "billing.nothing.v1")

    assert done.returncode == 2
    assert "cannot be read" in done.stderr

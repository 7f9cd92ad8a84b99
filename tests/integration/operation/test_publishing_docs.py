"""What docs/PUBLISHING.md promises, done with the programs that it shows, on a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from schemas import BILLING
from schemas.orders import RenewalRejected
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.requests import RenewalRequested
from schemas.topics import ORDERS, REQUESTS
from services.cli.requests.publish import ExitCode, publish
from services.cli.setup.setup import set_up_topics
from services.runtime.kafka.records.cloudevents import binary_headers, read_record
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.event_log import StoredEvent
from services.runtime.settings import KafkaSettings
from tests.infrastructure.system import delete_topics

PAGE = Path(__file__).parents[3] / "docs" / "PUBLISHING.md"


def block(language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"docs/PUBLISHING.md has no {language} block"
    return found[1]


@pytest.fixture
def bootstrap_servers(infrastructure: Any) -> str:
    servers: str = infrastructure.bootstrap_servers
    asyncio.run(delete_topics(servers))
    asyncio.run(
        set_up_topics(
            KafkaSettings(bootstrap_servers=servers), SHARD_COUNT_DEFAULT, replication_factor=1
        )
    )
    return servers


async def find(bootstrap_servers: str, renewal_id: str) -> Any:
    """Return the record of the request with this id."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(
            [TopicPartition(REQUESTS.name, number) for number in range(SHARD_COUNT_DEFAULT)]
        )
        await consumer.seek_to_beginning()
        async with asyncio.timeout(30):
            async for record in consumer:
                if renewal_id.encode() in (record.value or b""):
                    return record
    finally:
        await consumer.stop()
    return None


async def answer(bootstrap_servers: str, event: RenewalRejected) -> None:
    now = datetime.now(UTC)
    stored = StoredEvent(
        shard=0,
        position=1,
        stream_id=f"order/{event.renewal_id}",
        stream_version=1,
        event_id=uuid.uuid4(),
        source="/billing/orders",
        type=event.wire_type(),
        sequence=1,
        account_id=event.account_id,
        correlation_id=event.renewal_id,
        causation_id=None,
        traceparent=None,
        occurred_at=now,
        recorded_at=now,
        body=event.body(),
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(
            ORDERS.name,
            stored.body,
            event.account_id.encode(),
            headers=binary_headers(stored, BILLING),
        )
    finally:
        await producer.stop()


def test_python_example_publishes_what_we_read_and_reads_what_we_publish(
    bootstrap_servers: str,
) -> None:
    example = subprocess.Popen(
        [sys.executable, "-c", block("python")],
        env=os.environ | {"BOOTSTRAP_SERVERS": bootstrap_servers, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert example.stdout is not None
        renewal_id = example.stdout.readline().split()[1]
        record = asyncio.run(find(bootstrap_servers, renewal_id))
        envelope, body = read_record(record)
        request = RenewalRequested.parse(body)

        asyncio.run(
            answer(
                bootstrap_servers,
                RenewalRejected.model_validate(
                    {
                        "account_id": request.account_id,
                        "renewal_id": request.renewal_id,
                        "reason": "unknown_plan",
                        "detail": "the plan is not sold",
                        "request_digest": "0" * 64,
                        "rejected_at": datetime.now(UTC),
                    },
                    strict=False,
                ),
            )
        )
        output, _ = example.communicate(timeout=60)
    finally:
        example.kill()

    assert example.returncode == 0
    assert f'RenewalRejected {{"account_id": "{request.account_id}"' in output
    assert envelope.source == "/upstream/shop"
    assert record.partition == shard_of(request.account_id, SHARD_COUNT_DEFAULT)


@pytest.mark.parametrize("language", ["json", "csv"])
def test_file_of_the_page_is_published_and_every_row_has_a_receipt(
    bootstrap_servers: str, tmp_path: Path, language: str
) -> None:
    file = tmp_path / ("requests.csv" if language == "csv" else "requests.jsonl")
    file.write_text(block(language), encoding="utf-8")
    app = typer.Typer()
    app.command()(publish)

    done = CliRunner().invoke(app, [str(file), "--bootstrap-servers", bootstrap_servers])

    receipt = json.loads((tmp_path / f"{file.name}.receipt.jsonl").read_text("utf-8"))
    assert done.exit_code == ExitCode.PUBLISHED, done.output
    assert receipt["status"] == "acknowledged"
    assert receipt["partition"] == shard_of("acct-7", SHARD_COUNT_DEFAULT)

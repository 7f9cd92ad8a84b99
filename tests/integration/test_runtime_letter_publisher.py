"""Letters that have no room in the table, on a real broker: all, in order, whatever their size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.runtime.errors import Transient
from services.runtime.flow.letters.letter_topic import LetterPublisher
from services.runtime.kafka.client import build_producer
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.log.event_log import DeadLetter
from services.runtime.settings import KafkaSettings
from tests.controls import T0
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import read_topics
from tests.unit.runtime.toy import SHARDS

GROUP: Final = "toys"
LETTERS: Final = 900
BYTES: Final = (0, 1, 700, 40_000, BODY_BYTES_MAX)


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[str]:
    name = f"letters-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=infrastructure.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(f"{name}.{GROUP}.dlq", SHARDS, 1)])
        yield name
        await admin.delete_topics([f"{name}.{GROUP}.dlq"])
    finally:
        await admin.close()


def letters(topic: str, count: int) -> list[DeadLetter]:
    plain = DeadLetter(topic, 0, 0, b"k", b"", (("x", b"\xff"),), "unlucky", "", 1, T0)
    return [
        # Many small ones for each that fills a batch by itself.
        plain._replace(
            partition=n % SHARDS, record_offset=n, value=b"v" * BYTES[n % 50 % len(BYTES)]
        )
        if n % 50 < len(BYTES)
        else plain._replace(partition=n % SHARDS, record_offset=n)
        for n in range(count)
    ]


async def test_letters_of_any_size_are_on_their_topic_once_and_in_order(
    infrastructure: Infrastructure, topic: str
) -> None:
    servers = infrastructure.bootstrap_servers
    publisher = LetterPublisher(
        lambda: build_producer(KafkaSettings(bootstrap_servers=servers)), GROUP
    )
    sent = letters(topic, LETTERS)
    try:
        await publisher.publish(sent[:1])
        await publisher.publish(sent[1:])
    finally:
        await publisher.close()
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for record in await read_topics(servers, (f"{topic}.{GROUP}.dlq",)):
        offset = int(dict(record.headers)["dlq-original-offset"])
        found[record.partition].append((offset, len(record.value)))
    assert found == {
        shard: [(n, len(sent[n].value or b"")) for n in range(shard, LETTERS, SHARDS)]
        for shard in range(SHARDS)
    }


async def test_broker_that_is_away_is_no_reason_to_pass_the_letters() -> None:
    publisher = LetterPublisher(
        lambda: build_producer(KafkaSettings(bootstrap_servers="127.0.0.1:1")), GROUP
    )
    with pytest.raises(Transient, match="the dead-letter topic takes nothing"):
        await publisher.publish(letters("t", 3))

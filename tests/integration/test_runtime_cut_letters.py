"""Letters of which the beginning is kept are handled again from what their topic still holds."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from schemas.topics import REQUESTS
from services.runtime.errors import Poison
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import delete_topics
from tests.integration.toy_database import ToyDatabase, open_toy_database
from tests.unit.runtime.toy import SHARDS, Record, Toy, request, until

LARGE = ("x-note", b"n" * 100_000)


@dataclass
class Topic:
    """The request topic on a real broker."""

    admin: AIOKafkaAdminClient
    producer: AIOKafkaProducer

    async def publish(self, record: Record) -> Record:
        """Publish a record; return it with the place that it got."""
        sent = await self.producer.send_and_wait(
            REQUESTS.name,
            record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers),
        )
        record.offset = sent.offset
        return record

    async def forget(self, record: Record) -> None:
        """Delete a record, as retention does."""
        place = TopicPartition(REQUESTS.name, record.partition)
        await self.admin.delete_records({place: RecordsToDelete(record.offset + 1)})


@pytest.fixture
async def topic(infrastructure: Infrastructure) -> AsyncIterator[Topic]:
    servers = infrastructure.bootstrap_servers
    await delete_topics(servers)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(REQUESTS.name, SHARDS, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        yield Topic(admin, producer)
    finally:
        await producer.stop()
        await admin.delete_topics([REQUESTS.name])
        await admin.close()


@pytest.fixture
async def toys(fresh_database: str, infrastructure: Infrastructure) -> AsyncIterator[ToyDatabase]:
    toy = Toy(troubles={14: Poison("unlucky", "use another amount")})
    async with open_toy_database(fresh_database, toy) as database:
        database.settings = database.settings.model_copy(
            update={"bootstrap_servers": infrastructure.bootstrap_servers}
        )
        yield database


def large(**changes: Any) -> Record:
    """Return a request that can be read, with a header that nobody reads."""
    record = request(**changes)
    record.headers = [LARGE, *record.headers]
    return record


async def redriven(toys: ToyDatabase) -> None:
    """Have all open letters handled again."""
    await toys.letters.ask_redrive(
        [letter.dead_letter_id for letter in await toys.letters.listed()]
    )

    async def done() -> bool:
        return not await toys.letters.asked()

    async with toys.redriving():
        await until(done)


async def test_cut_letter_is_handled_as_the_whole_record_by_a_version_that_takes_it(
    toys: ToyDatabase, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await topic.publish(large(amount=14))
    await toys.dead_letter(record)
    [letter] = await toys.letters.listed()
    assert letter.whole is not None
    assert len(letter.headers[0][1] or "") < len(LARGE[1])
    toys.toy.troubles = {}
    await redriven(toys)
    assert [each.reason for each in await toys.letters.listed()] == ["oversized"]
    for limit in ("HEADER_BYTES_MAX", "HEADERS_BYTES_MAX"):
        monkeypatch.setattr(f"services.runtime.kafka.records.record_size.{limit}", 1_000_000)
    await redriven(toys)
    assert await toys.letters.listed() == []
    assert await toys.count("order/t-1") == 1


async def test_cut_letter_stays_open_when_its_topic_lost_the_record(
    toys: ToyDatabase, topic: Topic
) -> None:
    record = request()
    record.value = b"z" * 300_000
    await topic.publish(record)
    await toys.dead_letter(record)
    [letter] = await toys.letters.listed()
    assert letter.whole is not None
    assert letter.whole.value_sha256 == hashlib.sha256(record.value).digest()
    assert letter.value == record.value[:BODY_BYTES_MAX]
    await redriven(toys)
    [again] = await toys.letters.listed()
    assert (again.reason, again.attempts) == ("oversized", 2)
    await topic.forget(record)
    await redriven(toys)
    [lost] = await toys.letters.listed()
    assert lost.reason == "letter_cut"
    assert "publish it again" in lost.detail


async def test_another_record_at_its_place_is_not_taken_for_a_cut_letter(
    toys: ToyDatabase, topic: Topic
) -> None:
    record = large(amount=14)
    await toys.dead_letter(record)
    await topic.publish(large(amount=14, topup_id="t-2"))
    toys.toy.troubles = {}
    await redriven(toys)
    [letter] = await toys.letters.listed()
    assert letter.reason == "letter_cut"
    assert await toys.count("order/t-2") == 0

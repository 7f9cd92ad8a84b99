"""Reads again what lies on a topic: the whole of a dead letter of which the beginning is kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import TopicPartition as KafkaPartition

from services.runtime.errors import Poison
from services.runtime.flow.letters.dead_letters import StoredDeadLetter
from services.runtime.kafka.reading import reader, records_until
from services.runtime.kafka.records.cloudevents import Record
from services.runtime.kafka.records.record_size import Head
from services.runtime.log.event_log import TopicPartition
from services.runtime.settings import KafkaSettings

LETTER_CUT: Final = "letter_cut"
_READ_SECONDS: Final = 60.0


class Originals:
    """Dead letters as the records that they were."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def record(self, letter: StoredDeadLetter) -> Record:
        """Return the whole record of a letter; one that was cut is read from its topic again.

        Raises:
            Poison: the topic no longer holds it.
            Transient: Kafka does not answer.
        """
        if letter.whole is None:
            return letter.record()
        place, offset = (letter.topic, letter.partition), letter.record_offset
        async with reading(self._settings, place, offset) as records:
            record = await anext(records, None)
        if record is None or record.offset != offset or not _was(record, letter.whole.value_sha256):
            message = (
                f"only the beginning of its {letter.whole.record_bytes} bytes is kept, and "
                f"{place[0]}/{place[1]} no longer holds it at {offset}: have its sender publish it "
                "again, then discard this letter"
            )
            raise Poison(LETTER_CUT, message)
        return record


def _was(record: Record, value_sha256: bytes) -> bool:
    value = record.value
    if isinstance(value, Head):
        return value.whole.value_sha256 == value_sha256
    return hashlib.sha256(value or b"").digest() == value_sha256


@asynccontextmanager
async def reading(
    settings: KafkaSettings, place: TopicPartition, first: int
) -> AsyncIterator[AsyncIterator[Record]]:
    """Give the records of a partition from `first` to what is its end now.

    Raises:
        Transient: Kafka does not answer.
    """
    tp = KafkaPartition(*place)
    deadline = asyncio.get_running_loop().time() + _READ_SECONDS
    async with reader(settings, tp.topic) as consumer, asyncio.timeout_at(deadline):
        consumer.assign([tp])
        ends = await consumer.end_offsets([tp])
        consumer.seek(tp, first)
        yield records_until(consumer, ends)

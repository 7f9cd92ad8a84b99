"""Reads what topics hold now, up to their ends, outside of every consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

SILENCE_SECONDS: Final = 30.0
"""For so long a broker may bring nothing: one without a leader answers, and never gives a record."""
_FETCH_MS: Final = 500


@asynccontextmanager
async def reader(settings: KafkaSettings, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a started consumer to which nothing is assigned, and stop it in the end.

    Raises:
        Transient: Kafka does not answer, at the start or while it is read.
    """
    consumer = build_consumer(client_options(settings))
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await consumer.start()
        yield consumer
    except (KafkaError, TimeoutError, OSError) as error:
        message = f"Kafka does not give what {topic} holds ({type(error).__name__})"
        raise Transient(message) from error
    finally:
        await consumer.stop()


async def records_until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[Any]:
    """Yield the records from where each partition was sought to up to its end, each in order.

    Raises:
        TimeoutError: nothing came, and no position moved, for `SILENCE_SECONDS`.
    """
    clock = asyncio.get_running_loop().time
    before: dict[TopicPartition, int] = {}
    moved_at = clock()
    while True:
        async with asyncio.timeout_at(moved_at + SILENCE_SECONDS):
            behind = {
                tp: at for tp, end in ends.items() if (at := await consumer.position(tp)) < end
            }
            if not behind:
                return
            fetched = await consumer.getmany(*behind, timeout_ms=_FETCH_MS)
        for tp, records in fetched.items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record
        if fetched or behind != before:
            before, moved_at = behind, clock()

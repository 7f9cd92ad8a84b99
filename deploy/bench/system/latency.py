"""How long one renewal takes, from the request to its PlanActivated as a client sees them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from deploy.bench.line import BenchLine, producing
from deploy.bench.system.load import Load
from deploy.local.errors import StackError
from schemas.registry import SHARD_COUNT_DEFAULT
from services.runtime.kafka.consumers import build_consumer

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

WARM_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 30
_TYPE: Final = b"billing.PlanActivated.v1"


async def latencies(line: BenchLine, load: Load, *, rate: int, seconds: float) -> list[float]:
    """Send `rate` requests a second and return the seconds each took, the first second left out.

    Raises:
        StackError: some renewals were not activated.
    """
    consumer = build_consumer({"bootstrap_servers": line.bootstrap_servers})
    await consumer.start()
    try:
        partitions = [TopicPartition(line.orders, n) for n in range(SHARD_COUNT_DEFAULT)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        total = int(rate * (seconds + WARM_SECONDS))
        seen: dict[str, float] = {}
        reading = asyncio.create_task(_read(consumer, seen, total))
        sent = await _send(line, load, rate, total)
        try:
            await asyncio.wait_for(reading, _WAIT_SECONDS)
        except TimeoutError:
            message = f"{total - len(seen)} of {total} renewals were not activated in time"
            raise StackError(message) from None
    finally:
        await consumer.stop()
    warm = int(rate * WARM_SECONDS)
    return [seen[name] - at for name, at in list(sent.items())[warm:]]


async def _send(line: BenchLine, load: Load, rate: int, total: int) -> dict[str, float]:
    sent: dict[str, float] = {}
    async with producing(line.bootstrap_servers, linger_ms=0) as producer:
        started = time.monotonic()
        for number in range(total):
            due = started + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            # From when it was due: a client that is held up must not hide the delay.
            sent[f"{load.name}-{number}"] = due
            await producer.send(line.requests, **load.message(number))
    return sent


async def _read(consumer: AIOKafkaConsumer, seen: dict[str, float], total: int) -> None:
    while len(seen) < total:
        found = await consumer.getmany(timeout_ms=200)
        now = time.monotonic()
        for records in found.values():
            for record in records:
                headers = dict(record.headers)
                if headers["ce_type"] == _TYPE:
                    seen[headers["ce_correlationid"].decode()] = now

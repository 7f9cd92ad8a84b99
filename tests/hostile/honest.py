"""The honest upstream: renewals at a steady rate, and how long each takes to its last fact."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from deploy.bench.line import producing
from deploy.bench.system.load import Load
from schemas.topics import ORDERS, REQUESTS
from services.runtime.kafka.consumers import build_consumer
from services.runtime.kafka.records.partitions import shard_of

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_LAST: Final = b"billing.PlanActivated.v1"
_ANSWERS: Final = {b"billing.PaymentCaptured.v1": "captured", _LAST: "activated"}
_PATIENCE_SECONDS: Final = 120


class Honest:
    """What the honest upstream asked for and was answered; times are of the monotonic clock."""

    def __init__(self, servers: str, shards: int) -> None:
        """Ask on the broker `servers`."""
        self._servers = servers
        self._shards = shards
        self._asked: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self.answers: Counter[tuple[str, str]] = Counter()
        """How often each renewal was captured and activated."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Read what orders says from now on."""
        consumer = build_consumer({"bootstrap_servers": self._servers})
        await consumer.start()
        partitions = [TopicPartition(ORDERS.name, n) for n in range(self._shards)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        reading = asyncio.create_task(self._read(consumer))
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await consumer.stop()

    async def ends(self) -> dict[int, int]:
        """Return where each partition of the requests ends."""
        consumer = build_consumer({"bootstrap_servers": self._servers})
        await consumer.start()
        try:
            partitions = [TopicPartition(REQUESTS.name, n) for n in range(self._shards)]
            found = await consumer.end_offsets(partitions)
        finally:
            await consumer.stop()
        return {tp.partition: end for tp, end in found.items()}

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            found = await consumer.getmany(timeout_ms=200)
            now = time.monotonic()
            for records in found.values():
                for record in records:
                    headers: dict[str, Any] = dict(record.headers)
                    name = headers["ce_correlationid"].decode()
                    if name in self._asked and (kind := _ANSWERS.get(headers["ce_type"])):
                        self.answers[name, kind] += 1
                        if kind == "activated":
                            self._answered.setdefault(name, now)

    async def ask(self, load: Load, *, rate: int, seconds: float) -> list[str]:
        """Send `rate` renewals a second for so long; return their names when all are answered.

        Those that nobody answers within two minutes are given up.
        """
        names: list[str] = []
        async with producing(self._servers, linger_ms=0) as producer:
            started = time.monotonic()
            for number in range(int(rate * seconds)):
                due = started + number / rate
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                message = load.message(number)
                message["partition"] = shard_of(load.account(number), self._shards)
                names.append(name := f"{load.name}-{number}")
                # From when it was due: a client that is held up must not hide the delay.
                self._asked[name] = due
                await producer.send(REQUESTS.name, **message)
        given_up = time.monotonic() + _PATIENCE_SECONDS
        while not self._answered.keys() >= set(names) and time.monotonic() < given_up:
            await asyncio.sleep(0.1)
        return names

    def seconds(self, names: list[str]) -> list[float]:
        """Return how long each that was answered took."""
        return [self._answered[n] - self._asked[n] for n in names if n in self._answered]

    def not_once(self, names: list[str]) -> list[str]:
        """Return those that were not captured and activated exactly once."""
        return [
            name
            for name in names
            if (self.answers[name, "captured"], self.answers[name, "activated"]) != (1, 1)
        ]

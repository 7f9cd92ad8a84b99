"""Watches the topics as a downstream system would."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from aiokafka import TopicPartition

from deploy.demo.tally import Tally
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.settings import KafkaSettings

_TOPICS: Final = (ORDERS, LEDGER, NOTIFICATIONS)


class DemoObserver:
    """Shows every record of the topics to a tally."""

    def __init__(self, kafka: KafkaSettings, tally: Tally) -> None:
        """Read everything from the start of the topics."""
        self._tally = tally
        self._consumer = build_consumer(client_options(kafka), auto_offset_reset="earliest")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(
            [
                TopicPartition(topic.name, partition)
                for topic in _TOPICS
                for partition in range(SHARD_COUNT_DEFAULT)
            ]
        )
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop watching; an error that ended it before is raised."""
        try:
            if self._task is not None:
                self._task.cancel()
                with suppress(asyncio.CancelledError):
                    await self._task
        finally:
            await self._consumer.stop()

    async def _watch(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self._tally.see(record.headers, record.value)

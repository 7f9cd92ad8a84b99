"""Watches the topics as a downstream system would, and counts what it sees."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import TopicPartition

from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, SHARD_COUNT_DEFAULT
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.settings import KafkaSettings

_TOPICS: Final = (ORDERS, LEDGER, NOTIFICATIONS)

Counts = Counter[tuple[str, str]]
"""(event name, detail) -> how many."""


class Observer:
    """Counts events by name and by the field that the manifest tells apart."""

    def __init__(self, kafka: KafkaSettings, detail_fields: Mapping[str, str]) -> None:
        """Read everything from the start of the topics."""
        self._detail_fields = detail_fields
        self._consumer = build_consumer(client_options(kafka), auto_offset_reset="earliest")
        self._seen_ids: set[bytes] = set()
        self.counts: Counts = Counter()
        self.notifications: dict[str, tuple[str, str]] = {}
        """Message-ID -> (template, locale)."""
        self.last_seen: dict[str, float] = {}
        """Event name -> the monotonic time at which the last one was seen."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch."""
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
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    @property
    def total(self) -> int:
        """How many events were seen."""
        return self.counts.total()

    def missing(self, expected: Counts) -> int:
        """Return how many of the expected events have not been seen yet."""
        return (expected - self.counts).total()

    async def _watch(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self._count(dict(record.headers), json.loads(record.value))

    def _count(self, headers: dict[str, bytes], data: dict[str, Any]) -> None:
        # A relay may publish an event again after a crash; a consumer goes by its id.
        if headers["ce_id"] in self._seen_ids:
            return
        self._seen_ids.add(headers["ce_id"])
        name = headers["ce_type"].decode().split(".")[1]
        self.last_seen[name] = time.monotonic()
        self.counts[name, str(data.get(self._detail_fields.get(name, ""), ""))] += 1
        if name == "NotificationSent":
            self.notifications[data["message_id"]] = (data["template"], data["locale"])


def nested_counts(nested: Mapping[str, Mapping[str, int]]) -> Counts:
    """Return `{name: {detail: count}}` of the manifest as one counter."""
    return Counter(
        {(name, detail): n for name, details in nested.items() for detail, n in details.items()}
    )

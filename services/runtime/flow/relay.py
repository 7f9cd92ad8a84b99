"""Publishes the log to Kafka: the log is the outbox, and what is stored is what is sent."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.runtime.errors import Transient
from services.runtime.flow.dead_letters import DeadLetterBox, StoredDeadLetter
from services.runtime.kafka.cloudevents import binary_headers
from services.runtime.log.event_log import EventLog, StoredEvent
from services.runtime.logs import Logger
from services.runtime.watch.tracing import UNTRACED, Tracing

POLL_SECONDS: Final = 0.05
GATHER_SECONDS: Final = 0.01
DEAD_LETTERS_SECONDS: Final = 1.0
EVENTS_PER_SHARD_MAX: Final = 500
RETRY_SECONDS: Final = 1.0
DEAD_LETTER_BYTES_MAX: Final = 900_000
"""Below what brokers take by default. A compressed record can be larger than any broker's limit."""


@dataclass(slots=True)
class RelayCounts:
    """What was acknowledged since the process began, and how often publishing failed."""

    events: int = 0
    dead_letters: int = 0
    failures: int = 0


class Relay:
    """Moves each shard's `published_position` behind what the broker has acknowledged.

    Two relays on one shard publish twice, never out of order; `sequence` removes the repeats.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        dead_letters: DeadLetterBox,
        source: str,
        topic: str,
        group: str,
        shards: Callable[[], Collection[int]],
        producer_factory: Callable[[], AIOKafkaProducer],
        logger: Logger,
        tracing: Tracing = UNTRACED,
    ) -> None:
        """Publish events of `source` in `shards()` to `topic`, and dead letters of `group`."""
        self._log = log
        self._dead_letters = dead_letters
        self._source = source
        self._topic = topic
        self._group = group
        self._shards = shards
        self._producer_factory = producer_factory
        self._producer: AIOKafkaProducer | None = None
        self._logger = logger
        self._tracing = tracing
        self._wake = asyncio.Event()
        self.counts = RelayCounts()

    def wake(self) -> None:
        """Look now: something was just committed."""
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled. A failed producer is replaced: its sequence may be broken."""
        letters_at = 0.0
        while True:
            self._wake.clear()
            try:
                published = await self._publish_events()
                if time.monotonic() >= letters_at:
                    await self._publish_dead_letters()
                    letters_at = time.monotonic() + DEAD_LETTERS_SECONDS
            except (KafkaError, Transient, OSError) as error:
                self.counts.failures += 1
                self._logger.warning("relay_retried", error=f"{type(error).__name__}: {error}")
                await self.close()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if published < EVENTS_PER_SHARD_MAX:
                await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            # Commits seldom come alone: those of the next moment go out with this one.
            await asyncio.sleep(GATHER_SECONDS)

    async def publish_once(self) -> int:
        """Publish the next events of every shard and the new dead letters; return how many."""
        return await self._publish_events() + await self._publish_dead_letters()

    async def _publish_events(self) -> int:
        found = await self._log.unpublished(
            self._source, self._shards(), limit=EVENTS_PER_SHARD_MAX
        )
        events = [event for news in found.values() for event in news.events]
        if events:
            with self._tracing.publishing(self._topic, events):
                await self._send([self._message(event) for event in events])
            self.counts.events += len(events)
        if found:
            await self._log.mark_published(
                {shard: news.through_position for shard, news in found.items()}
            )
        return len(events)

    async def _publish_dead_letters(self) -> int:
        letters = await self._dead_letters.unpublished()
        if letters:
            await self._send([self._dead_letter_message(letter) for letter in letters])
            self.counts.dead_letters += len(letters)
            await self._dead_letters.mark_published([letter.dead_letter_id for letter in letters])
        return len(letters)

    async def flush(self) -> None:
        """Publish until nothing is left: for shutdown."""
        while await self.publish_once():
            pass

    async def close(self) -> None:
        """Close the producer, waiting for nothing."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), RETRY_SECONDS)
            except (KafkaError, OSError, TimeoutError) as error:
                self._logger.warning("producer_close_failed", error=type(error).__name__)

    async def _send(self, messages: list[dict[str, Any]]) -> None:
        """Send all, in order within each partition, and return when each has a record offset."""
        if self._producer is None:
            producer = self._producer_factory()
            await producer.start()
            self._producer = producer
        futures = [await self._producer.send(**message) for message in messages]
        for metadata in await asyncio.gather(*futures):
            if metadata.offset < 0:
                message = "the broker acknowledged without an offset: acks must be all"
                raise Transient(message)

    def _message(self, event: StoredEvent) -> dict[str, Any]:
        return {
            "topic": self._topic,
            "partition": event.shard,
            "key": event.account_id.encode(),
            "value": event.body,
            "headers": binary_headers(event),
        }

    def _dead_letter_message(self, letter: StoredDeadLetter) -> dict[str, Any]:
        headers = [
            (name, None if value is None else b64decode(value)) for name, value in letter.headers
        ]
        about = {
            "dlq-reason": letter.reason,
            "dlq-original-topic": letter.topic,
            "dlq-original-partition": str(letter.partition),
            "dlq-original-offset": str(letter.record_offset),
            "dlq-at": letter.dead_lettered_at.isoformat(),
            "dlq-attempts": str(letter.attempts),
        }
        key, value = letter.key, letter.value
        size = len(key or b"") + len(value or b"")
        size += sum(len(name.encode()) + len(held or b"") for name, held in headers)
        if size > DEAD_LETTER_BYTES_MAX:
            about["dlq-left-out-bytes"] = str(size)
            key, value, headers = None, None, []
        return {
            "topic": f"{letter.topic}.{self._group}.dlq",
            "partition": letter.partition,
            # aiokafka takes no message without key and value.
            "key": b"" if key is None and value is None else key,
            "value": value,
            "headers": [*headers, *((name, text.encode()) for name, text in about.items())],
        }

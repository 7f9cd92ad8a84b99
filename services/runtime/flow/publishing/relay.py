"""Publishes the log to Kafka: the log is the outbox, and what is stored is what is sent."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.registry import EventRegistry
from services.runtime.authenticity import EventSigner
from services.runtime.errors import Transient
from services.runtime.flow.letters.dead_letters import DeadLetterTable, StoredDeadLetter
from services.runtime.flow.letters.letter_topic import letter_message
from services.runtime.flow.pace import Pace
from services.runtime.flow.publishing.committed_events import CommittedEvents
from services.runtime.flow.publishing.lost_events import LostEvents
from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.log.event_log import EventLog, LogEnd, StoredEvent, Unpublished
from services.runtime.logs import Logger

POLL_SECONDS: Final = 0.5
"""Commits of this process come from memory: the log is read for those of others."""
GATHER_SECONDS: Final = 0.01
DEAD_LETTERS_SECONDS: Final = 1.0
EVENTS_PER_SHARD_MAX: Final = 500
RETRY_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 1.0
"""How long the other shards wait for one whose partition does not answer."""


@dataclass(slots=True)
class RelayCounts:
    """What was acknowledged since the process began, and how often publishing failed."""

    events: int = 0
    dead_letters: int = 0
    failures: int = 0


class Relay:
    """Moves each shard's `published_position` behind what the broker has acknowledged.

    It is marked when the log is read next: what a process that ends had not marked goes out again.
    What this process commits is published from memory; the log is read for what others wrote, at
    the start, and after a failure. An event that was acknowledged and is not in the log any more
    parks its shard: nothing is published or marked of a log that was put back.
    Two relays on one shard publish twice, never out of order; `sequence` removes the repeats.
    """

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        log: EventLog,
        events: EventRegistry,
        dead_letters: DeadLetterTable,
        source: str,
        topic: str,
        group: str,
        shards: Callable[[], Collection[int]],
        producer_factory: Callable[[], AIOKafkaProducer],
        logger: Logger,
        tracing: Tracing = UNTRACED,
        signer: EventSigner | None = None,
    ) -> None:
        """Publish events of `source` in `shards()` to `topic`, and dead letters of `group`."""
        self._log = log
        self._events = events
        self._dead_letters = dead_letters
        self._source = source
        self._topic = topic
        self._group = group
        self._shards = shards
        self._producer_factory = producer_factory
        self._producer: AIOKafkaProducer | None = None
        self._logger = logger
        self._tracing = tracing
        self._signer = signer
        self._under_way: dict[int, asyncio.Task[int]] = {}
        self._acknowledged: dict[int, LogEnd] = {}
        self._committed = CommittedEvents(source)
        self._lost = LostEvents(log, logger)
        self._read_log_at = 0.0
        self._starting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._pace = Pace(GATHER_SECONDS)
        self.counts = RelayCounts()

    def add(self, events: Sequence[StoredEvent]) -> None:
        """Publish `events`, which this process has just committed."""
        if events:
            self._committed.add(events)
            self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled. A failed producer is replaced: its sequence may be broken."""
        letters_at = 0.0
        while True:
            self._wake.clear()
            try:
                with self._pace.turn():
                    published = await self._publish_events(PATIENCE_SECONDS)
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
            await self._pace.gather()

    async def publish_once(self) -> int:
        """Publish the next events of every shard and the new dead letters; return how many."""
        self._read_log_at = 0.0
        try:
            return await self._publish_events(None) + await self._publish_dead_letters()
        finally:
            await self._log.mark_published(self._acknowledged)

    async def _publish_events(self, patience_seconds: float | None) -> int:
        """Publish the next events of each shard that is not under way; return how many were.

        A partition without a leader keeps its shard waiting, and no other for longer than
        `patience_seconds`.

        Raises:
            KafkaError, Transient, OSError: a shard could not be published from some event on.
        """
        shards = self._shards()
        self._committed.keep_only(shards)
        idle = [shard for shard in shards if shard not in self._under_way]
        for shard, news in (await self._unpublished(idle)).items():
            self._under_way[shard] = asyncio.create_task(self._publish_shard(shard, news))
        if not self._under_way:
            return 0
        done, _ = await asyncio.wait(self._under_way.values(), timeout=patience_seconds)
        self._under_way = {s: task for s, task in self._under_way.items() if task not in done}
        if failed := [error for task in done if (error := task.exception()) is not None]:
            raise failed[0]
        return sum(task.result() for task in done)

    async def _unpublished(self, shards: Collection[int]) -> dict[int, Unpublished]:
        """Return what is to be published of `shards`, from memory where that can tell."""
        found: dict[int, Unpublished] = {}
        unknown = list(shards)
        if time.monotonic() < self._read_log_at:
            known = {shard: self._from_memory(shard) for shard in shards}
            found = {shard: news for shard, news in known.items() if news is not None}
            unknown = [shard for shard in shards if shard not in found and shard in self._committed]
        else:
            self._read_log_at = time.monotonic() + POLL_SECONDS
        if unknown:
            found |= await self._log.unpublished(
                self._source,
                unknown,
                limit=EVENTS_PER_SHARD_MAX,
                acknowledged=self._acknowledged,
            )
        lost = {shard: news.through for shard, news in found.items() if news.lost}
        self._committed.forget(lost)
        await self._lost.park(self._acknowledged, lost)
        return {
            shard: news
            for shard, news in found.items()
            if shard not in lost and news.through != self._acknowledged.get(shard)
        }

    def _from_memory(self, shard: int) -> Unpublished | None:
        if (end := self._acknowledged.get(shard)) is None:
            return None
        return self._committed.behind(shard, end, limit=EVENTS_PER_SHARD_MAX)

    async def _publish_shard(self, shard: int, news: Unpublished) -> int:
        """Publish events of one shard, a batch at a time: the next goes when the last is acknowledged.

        The client may fail one batch of a partition and deliver a later one: so there is none later.
        """
        events, count = news.events, 0
        try:
            with self._tracing.publishing(self._topic, events) if events else nullcontext():
                while count < len(events):
                    count += await self._send_first(shard, events[count:])
        except Exception:
            if count:
                last = events[count - 1]
                self._acknowledged[shard] = LogEnd(last.position, last.hash)
            raise
        finally:
            self.counts.events += count
        self._acknowledged[shard] = news.through
        return count

    async def _send_first(self, shard: int, events: list[StoredEvent]) -> int:
        """Send as many of `events` as go into one batch; return how many the broker has."""
        producer = await self._started()
        batch, taken = producer.create_batch(), 0
        for event in events:
            if batch.append(timestamp=None, **self._message(event)) is None:
                break
            taken += 1
        batch.close()
        _check_offset(await (await producer.send_batch(batch, self._topic, partition=shard)))
        return taken

    async def _publish_dead_letters(self) -> int:
        letters = await self._dead_letters.unpublished()
        if letters:
            await self._send([self._dead_letter_message(letter) for letter in letters])
            self.counts.dead_letters += len(letters)
            await self._dead_letters.mark_published(letters)
        return len(letters)

    async def flush(self) -> None:
        """Publish until nothing is left: for shutdown."""
        while await self.publish_once():
            pass

    async def close(self) -> None:
        """Close the producer, waiting for nothing. What goes on reads the log first."""
        self._committed.clear()
        self._read_log_at = 0.0
        under_way, self._under_way = list(self._under_way.values()), {}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._stop(producer)

    async def _stop(self, producer: AIOKafkaProducer) -> None:
        try:
            await asyncio.wait_for(producer.stop(), RETRY_SECONDS)
        except (KafkaError, OSError, TimeoutError) as error:
            self._logger.warning("producer_close_failed", error=type(error).__name__)

    async def _send(self, messages: list[dict[str, Any]]) -> None:
        """Send all, in whatever order, and return when each has a record offset."""
        producer = await self._started()
        futures = [await producer.send(**message) for message in messages]
        for metadata in await asyncio.gather(*futures):
            _check_offset(metadata)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._producer_factory()
                try:
                    await producer.start()
                except BaseException:
                    await self._stop(producer)
                    raise
                self._producer = producer
            return self._producer

    def _message(self, event: StoredEvent) -> dict[str, Any]:
        key, headers = event.account_id.encode(), binary_headers(event, self._events)
        if self._signer is not None:
            mac = self._signer.mac(self._topic, event.shard, key, headers, event.body)
            headers.append(mac)
        return {"key": key, "value": event.body, "headers": headers}

    def _dead_letter_message(self, letter: StoredDeadLetter) -> dict[str, Any]:
        headers = [
            (name, None if value is None else b64decode(value)) for name, value in letter.headers
        ]
        return letter_message(letter, headers, self._group)


def _check_offset(metadata: Any) -> None:  # noqa: ANN401 - aiokafka's
    if metadata.offset < 0:
        message = "the broker acknowledged without an offset: acks must be all"
        raise Transient(message)

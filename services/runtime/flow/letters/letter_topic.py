"""Dead letters as messages on `<topic>.<group>.dlq`, and the way there for what is kept nowhere else."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.runtime.errors import Transient
from services.runtime.kafka.records.record_size import Headers, Kept, kept
from services.runtime.log.event_log import DeadLetter, Whole

_ANSWER_SECONDS: Final = 10.0
"""The shards of the batch are locked meanwhile."""
_CLOSE_SECONDS: Final = 1.0


class PublishedLetter(Protocol):
    """What a message says of a dead letter."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def record_offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def whole(self) -> Whole | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def dead_lettered_at(self) -> datetime: ...


def letter_message(letter: PublishedLetter, headers: Headers, group: str) -> dict[str, Any]:
    """Return what the producer sends for a dead letter of `group`: as much of it as is kept."""
    return _message(letter, kept(letter.key, letter.value, headers), group)


def _message(letter: PublishedLetter, held: Kept, group: str) -> dict[str, Any]:
    about = {
        "dlq-reason": letter.reason,
        "dlq-original-topic": letter.topic,
        "dlq-original-partition": str(letter.partition),
        "dlq-original-offset": str(letter.record_offset),
        "dlq-at": letter.dead_lettered_at.isoformat(),
        "dlq-attempts": str(letter.attempts),
    }
    if whole := letter.whole or held.whole:
        about["dlq-original-bytes"] = str(whole.record_bytes)
        about["dlq-original-value-sha256"] = whole.value_sha256.hex()
    return {
        "topic": f"{letter.topic}.{group}.dlq",
        "partition": letter.partition,
        # aiokafka takes no message without key and value.
        "key": b"" if held.key is None and held.value is None else held.key,
        "value": held.value,
        "headers": [*held.headers, *((name, text.encode()) for name, text in about.items())],
    }


class LetterPublisher:
    """Publishes dead letters before their offsets are passed."""

    def __init__(self, producer_factory: Callable[[], AIOKafkaProducer], group: str) -> None:
        """Publish those of `group`; the producer is made when the first one comes."""
        self._producer_factory = producer_factory
        self._producer: AIOKafkaProducer | None = None
        self._group = group

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        """Return when the broker has each of `letters`.

        Raises:
            Transient: it does not take them; the same records come again.
        """
        messages = [_message(letter, _held(letter), self._group) for letter in letters]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if self._producer is None:
                    self._producer = self._producer_factory()
                    await self._producer.start()
                await _send(self._producer, messages)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            message = f"the dead-letter topic takes nothing ({type(error).__name__})"
            raise Transient(message) from error

    async def close(self) -> None:
        """Close the producer, waiting for nothing."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), _CLOSE_SECONDS)
            except (KafkaError, OSError, TimeoutError):
                return


def _held(letter: DeadLetter) -> Kept:
    """Return what a letter holds: it was cut when it was made."""
    return Kept(letter.key, letter.value, letter.headers, letter.whole)


async def _send(producer: AIOKafkaProducer, messages: Sequence[dict[str, Any]]) -> None:
    """Send the messages in batches: the transaction that they belong to waits less than for each."""
    places: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for message in messages:
        place = message.pop("topic"), message.pop("partition")
        places[place].append(message)
    await asyncio.gather(*(_send_to(producer, *place, found) for place, found in places.items()))


async def _send_to(
    producer: AIOKafkaProducer, topic: str, partition: int, messages: list[dict[str, Any]]
) -> None:
    batch = producer.create_batch()
    for message in messages:
        if batch.append(timestamp=None, **message) is None:
            await _send_batch(producer, batch, topic, partition)
            batch = producer.create_batch()
            batch.append(timestamp=None, **message)
    await _send_batch(producer, batch, topic, partition)


async def _send_batch(
    producer: AIOKafkaProducer,
    batch: Any,  # noqa: ANN401 - aiokafka's
    topic: str,
    partition: int,
) -> None:
    batch.close()
    await (await producer.send_batch(batch, topic, partition=partition))

"""Reading to the end of a topic ends: at the end, or when nothing moves any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.runtime.kafka import reading
from services.runtime.kafka.reading import records_until

TP = TopicPartition("billing.orders.v1", 0)
SILENCE = 0.3


@dataclass(frozen=True)
class Read:
    offset: int


@dataclass
class ScriptedConsumer:
    """Gives one batch of offsets after the other, then answers with nothing, as a broker may."""

    batches: list[Sequence[int]]
    at: int = 0
    pause: float = 0.05
    asked: list[tuple[TopicPartition, ...]] = field(default_factory=list)

    async def position(self, _tp: TopicPartition) -> int:
        return self.at

    async def getmany(self, *tps: TopicPartition, timeout_ms: int) -> dict[Any, Any]:
        assert timeout_ms
        self.asked.append(tps)
        await asyncio.sleep(self.pause)
        if not self.batches:
            return {}
        offsets = self.batches.pop(0)
        self.at = max([self.at, *(offset + 1 for offset in offsets)])
        return {TP: [Read(offset) for offset in offsets]} if offsets else {}


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SILENCE_SECONDS", SILENCE)


async def read(consumer: Any, end: int) -> list[int]:
    return [record.offset async for record in records_until(consumer, {TP: end})]


async def test_reading_ends_at_the_end_and_passes_over_what_came_meanwhile() -> None:
    assert await read(ScriptedConsumer([[0, 1], [2, 3, 4]]), 4) == [0, 1, 2, 3]


async def test_empty_partition_is_not_asked() -> None:
    consumer = ScriptedConsumer([], at=7)
    assert await read(consumer, 7) == []
    assert consumer.asked == []


async def test_broker_that_answers_with_nothing_for_ever_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(ScriptedConsumer([[0]]), 2), 20 * SILENCE)


async def test_broker_that_brings_little_at_a_time_is_waited_for() -> None:
    slow = ScriptedConsumer([[n] for n in range(8)], pause=SILENCE / 3)
    assert await read(slow, 8) == list(range(8))


async def test_who_handles_records_slowly_is_not_taken_for_a_silent_broker() -> None:
    seen = []
    consumer: Any = ScriptedConsumer([[0], [1], [2]])
    async for record in records_until(consumer, {TP: 3}):
        await asyncio.sleep(2 * SILENCE)
        seen.append(record.offset)
    assert seen == [0, 1, 2]

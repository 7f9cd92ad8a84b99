"""Whether the topics still hold what the cursors expect next; nothing is ever skipped to go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import Halt, Transient
from services.runtime.log.event_log import TopicPartition

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer


async def first_offsets(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return where each partition begins now.

    Raises:
        Transient: Kafka does not answer.
    """
    firsts, _ = await _bounds(consumer, partitions)
    return firsts


async def check_reach(consumer: AIOKafkaConsumer, cursors: Mapping[TopicPartition, int]) -> None:
    """See that each topic can still be read from its cursor on.

    Raises:
        Halt: a topic ends before its cursor or begins behind it: records were lost.
        Transient: Kafka does not answer.
    """
    firsts, ends = await _bounds(consumer, cursors)
    for (topic, partition), cursor in cursors.items():
        first, end = firsts[topic, partition], ends[topic, partition]
        where = f"the cursor of {topic}/{partition} is {cursor}"
        if cursor > end:
            message = (
                f"{where} but the topic ends at {end}: it was re-created or cut. Do not go on by "
                "hand; restore the topic, or see docs/OPERATIONS.md"
            )
            raise Halt(message)
        if cursor < first:
            message = (
                f"{where} but the topic begins at {first}: what lies between was deleted before it "
                "was read. Do not go on by hand; have it published again, then see "
                "docs/OPERATIONS.md"
            )
            raise Halt(message)


async def _bounds(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    asked = [KafkaPartition(topic, partition) for topic, partition in partitions]
    try:
        firsts = await consumer.beginning_offsets(asked)
        ends = await consumer.end_offsets(asked)
    except KafkaError as error:
        message = f"Kafka does not say what its topics hold ({type(error).__name__})"
        raise Transient(message) from error
    return (
        {(tp.topic, tp.partition): offset for tp, offset in firsts.items()},
        {(tp.topic, tp.partition): offset for tp, offset in ends.items()},
    )

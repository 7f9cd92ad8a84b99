"""Whether the topics still hold what the cursors expect next; nothing is ever skipped to go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.offset import OffsetRequest

from services.runtime.errors import Halt, Transient
from services.runtime.kafka.reading import reader
from services.runtime.log.event_log import TopicPartition
from services.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_CONSUMER: Final = -1
_UNCOMMITTED_TOO: Final = 0
_LATEST: Final = -1


async def first_offsets_now(
    settings: KafkaSettings, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return where each partition begins now, asked with a connection of its own.

    Raises:
        Transient: Kafka does not answer.
    """
    async with reader(settings, _named(partitions)) as consumer:
        firsts, _ = await _bounds(consumer, partitions)
    return firsts


async def check_reach(settings: KafkaSettings, cursors: Mapping[TopicPartition, int]) -> None:
    """See that each topic can still be read from its cursor on, asked with a connection of its own.

    That of the consumer may be what is stuck: a batch would wait for it with nobody to see it.

    Raises:
        Halt: a topic ends before its cursor or begins behind it: records were lost.
        Transient: Kafka does not answer.
    """
    async with reader(settings, _named(cursors)) as consumer:
        firsts, ends = await _bounds(consumer, cursors)
        # These ends leave out what an open transaction holds back. A cursor may be beyond: one that
        # an earlier version moved, which read what was not committed.
        beyond = [each for each, cursor in cursors.items() if cursor > ends[each]]
        ends |= await log_ends(consumer, beyond)
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


def by_partition(offsets: Mapping[KafkaPartition, int]) -> dict[TopicPartition, int]:
    """Return offsets that aiokafka gave, by topic and partition."""
    return {(tp.topic, tp.partition): offset for tp, offset in offsets.items()}


async def log_ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offset that the next record of each partition will get, committed or not.

    Raises:
        Transient: Kafka does not answer.
    """
    by_leader: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for topic, partition in partitions:
        asked = by_leader.setdefault(_leader(consumer, topic, partition), {})
        asked.setdefault(topic, []).append((partition, _LATEST))
    client: Any = consumer._client  # noqa: SLF001 - aiokafka asks with the consumer's isolation only
    ends: dict[TopicPartition, int] = {}
    for leader, wanted in by_leader.items():
        request = OffsetRequest(_CONSUMER, _UNCOMMITTED_TOO, list(wanted.items()))
        try:
            answer = await client.send(leader, request)
            for topic, found in answer.topics:
                for partition, error_code, _, end in found:
                    if error_code:
                        raise for_code(error_code)
                    ends[topic, partition] = int(end)
        except (KafkaError, ValueError) as error:
            names = ", ".join(sorted(wanted))
            message = f"Kafka does not say where {names} ends ({type(error).__name__})"
            raise Transient(message) from error
    return ends


def _named(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({topic for topic, _ in partitions}))


def _leader(consumer: AIOKafkaConsumer, topic: str, partition: int) -> int:
    client: Any = consumer._client  # noqa: SLF001 - see above
    leader = client.cluster.leader_for_partition(KafkaPartition(topic, partition))
    if leader in {None, -1}:
        message = f"{topic}/{partition} has no leader that could say where it ends"
        raise Transient(message)
    return int(leader)


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
    return by_partition(firsts), by_partition(ends)

"""Which offsets a topic holds."""

from __future__ import annotations

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.settings import KafkaSettings


async def bounds_of(settings: KafkaSettings, topic: str) -> dict[int, tuple[int, int]]:
    """Return the first offset and the end of each partition.

    Raises:
        Transient: Kafka cannot be reached.
    """
    consumer = build_consumer(client_options(settings), topic)
    try:
        await consumer.start()
        partitions = [
            TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic) or ()
        ]
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    except (KafkaError, OSError) as error:
        message = f"Kafka ({type(error).__name__})"
        raise Transient(message) from None
    finally:
        await consumer.stop()
    return {each.partition: (firsts[each], ends[each]) for each in partitions}

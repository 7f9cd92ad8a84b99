"""The records of a topic, from its beginning to its present end, for `perennial check-records`."""

from __future__ import annotations

from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.cli.broker import admitted
from services.cli.clock.now import now
from services.cli.requests.record_checks import RecordChecker, Verdict
from services.runtime.errors import ConfigurationError, Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.reading import reader, records_until
from services.runtime.settings import KafkaSettings


async def check_topic(settings: KafkaSettings, topic: str, tell: Callable[[Verdict], bool]) -> bool:
    """Tell of each record up to the present end; return whether that was reached.

    Raises:
        ConfigurationError: the topic is not there, or the broker refuses us.
        Transient: Kafka does not answer.
    """
    await admitted(settings)
    partitions = [
        TopicPartition(topic, each) for each in range(await _partition_count(settings, topic))
    ]
    checker = RecordChecker(topic, len(partitions))
    async with reader(settings, topic) as consumer:
        consumer.assign(partitions)
        firsts, ends = (
            await consumer.beginning_offsets(partitions),
            await consumer.end_offsets(partitions),
        )
        for partition in partitions:
            # Not `seek_to_beginning`: the client's own first look for the end may come after it.
            consumer.seek(partition, firsts[partition])
        async for record in records_until(consumer, ends):
            place = f"{record.partition}@{record.offset}"
            if not tell(checker.check(record, place, now())):
                return False
    return True


async def _partition_count(settings: KafkaSettings, topic: str) -> int:
    """Return how many partitions a topic has.

    Raises:
        ConfigurationError: it is not there.
        Transient: Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        described = await admin.describe_topics([topic])
    except (KafkaError, OSError) as error:
        message = f"Kafka ({type(error).__name__})"
        raise Transient(message) from None
    finally:
        await admin.close()
    found = [len(each["partitions"]) for each in described if each["topic"] == topic]
    if not found or not found[0]:
        message = f"{topic} is not there: run `perennial setup`"
        raise ConfigurationError(message)
    return found[0]

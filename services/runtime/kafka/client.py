"""Kafka through FastStream: one batch subscriber per service, with a parser that cannot raise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from aiokafka import AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition, codec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from services.runtime.errors import ConfigurationError, Halt
from services.runtime.kafka.access import check_credentials, tls_context
from services.runtime.kafka.consumers import READING
from services.runtime.kafka.patches.closed_connections import expect_closed_connections
from services.runtime.kafka.patches.fetch_pace import QUIET_BYTES_MIN, QUIET_WAIT_MS, FetchPace
from services.runtime.kafka.patches.fetched_records import tolerate_header_names
from services.runtime.settings import KafkaSettings, RuntimeSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, ConsumerRecord
    from faststream import AckPolicy
    from faststream.kafka import KafkaBroker
    from faststream.kafka.message import KafkaAckableMessage
    from faststream.security import BaseSecurity

BATCH_TIMEOUT_MS: Final = 365 * 24 * 3600 * 1000
"""Until records are there. FastStream sleeps as long again after an answer without any, and is deaf
meanwhile: there must be none."""
METADATA_AGE_MS_MAX: Final = 30_000
"""A topic that was re-created is noticed within this time."""
OnBatch = Callable[[Sequence[Any]], Awaitable[None]]


def assert_complete_client() -> None:
    """Refuse to run on a Kafka client that falls back, or fails later, in silence.

    Without its C extension aiokafka reads records in Python; without the codecs it never delivers
    what an upstream compressed.

    Raises:
        ConfigurationError: the C extension or a codec is missing.
    """
    try:
        from aiokafka.record import _crecords  # noqa: F401, PLC0415 - the import is the check
    except ImportError:
        message = "aiokafka's C extension is missing: install the aiokafka wheel of this platform"
        raise ConfigurationError(message) from None
    codecs = {"lz4": codec.has_lz4(), "snappy": codec.has_snappy(), "zstd": codec.has_zstd()}
    if missing := [name for name, there in codecs.items() if not there]:
        message = (
            f"aiokafka cannot read {', '.join(missing)}: install aiokafka[{','.join(missing)}]"
        )
        raise ConfigurationError(message)


def security(settings: KafkaSettings) -> BaseSecurity | None:
    """Return FastStream's security object.

    Raises:
        ConfigurationError: credentials without the protocol they need, or the reverse; or a file
            of certificate authorities that cannot be used.
    """
    from faststream.security import (  # noqa: PLC0415 - commands do without FastStream
        BaseSecurity,
        SASLPlaintext,
        SASLScram256,
        SASLScram512,
    )

    check_credentials(settings)
    context = tls_context(settings)
    if settings.kafka_sasl_mechanism is None:
        return None if context is None else BaseSecurity(ssl_context=context, use_ssl=True)
    if settings.kafka_username is None or settings.kafka_password is None:
        return None
    kinds = {
        "PLAIN": SASLPlaintext,
        "SCRAM-SHA-256": SASLScram256,
        "SCRAM-SHA-512": SASLScram512,
    }
    return kinds[settings.kafka_sasl_mechanism](
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        use_ssl=context is not None,
        ssl_context=context,
    )


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the connection options that aiokafka's own clients take.

    Raises:
        ConfigurationError: as `security`.
    """
    check_credentials(settings)
    expect_closed_connections()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": tls_context(settings),
    }
    if settings.kafka_sasl_mechanism is not None and settings.kafka_password is not None:
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


def build_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    """Return a producer that counts nothing as sent before all replicas have it."""
    return AIOKafkaProducer(
        **client_options(settings),
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        max_batch_size=128 * 1024,
    )


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Which partitions this process holds now."""

    def __init__(self) -> None:
        self.partitions: frozenset[tuple[str, int]] = frozenset()
        self.changed = asyncio.Event()

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Forget what is taken away; the database cursor fences what is still under way."""
        self.partitions -= {(tp.topic, tp.partition) for tp in revoked}

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self.partitions = frozenset((tp.topic, tp.partition) for tp in assigned)
        self.changed.set()

    def shards(self) -> frozenset[int]:
        """Return the shards this process is responsible for publishing."""
        return frozenset(partition for _, partition in self.partitions)


class BatchConsumer:
    """A FastStream broker with exactly one batch subscriber."""

    def __init__(
        self,
        *,
        settings: RuntimeSettings,
        topics: Sequence[str],
        group: str,
        assignment: Assignment,
    ) -> None:
        """Read `topics` as `group`; `assignment` follows what is given and taken."""
        from faststream import AckPolicy  # noqa: PLC0415 - commands do without FastStream

        expect_closed_connections()
        tolerate_header_names()
        self._fetch_pace = FetchPace(settings.fetch_wait_ms)
        self._broker = _broker_of(settings)
        self._subscriber = self._broker.subscriber(
            *topics,
            batch=True,
            group_id=group,
            max_records=settings.batch_records_max,
            batch_timeout_ms=BATCH_TIMEOUT_MS,
            fetch_min_bytes=QUIET_BYTES_MIN,
            fetch_max_wait_ms=QUIET_WAIT_MS,
            auto_offset_reset="earliest",
            **READING,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            no_reply=True,
            parser=self._parse,
            decoder=_raw_records,
            listener=assignment,
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=settings.kafka_session_timeout_ms // 4,
        )

    @property
    def ack_policy(self) -> AckPolicy:
        """The policy in force, for the test that guards it."""
        return self._broker.subscribers[0].ack_policy

    @property
    def consumer(self) -> AIOKafkaConsumer:
        subscriber: Any = self._subscriber
        return subscriber.consumer

    async def start(self, on_batch: OnBatch) -> None:
        """Connect, join the group, and give every batch to `on_batch`, raw and undecoded."""
        self._subscriber(_untyped(on_batch))
        await self._broker.start()

    async def stop(self) -> None:
        """Stop fetching, finish the batch, leave the group."""
        await self._broker.stop()

    def seek(self, topic: str, partition: int, offset: int) -> bool:
        """Go back (or on) to `offset`; False when the partition is no longer ours."""
        tp = TopicPartition(topic, partition)
        if tp not in self.consumer.assignment():
            return False
        self.consumer.seek(tp, offset)
        return True

    def pause(self, topic: str, partition: int) -> None:
        """Fetch no more of a partition until it is resumed; a rebalance forgets it."""
        if (tp := TopicPartition(topic, partition)) in self.consumer.assignment():
            self.consumer.pause(tp)

    def resume(self, topic: str, partition: int) -> None:
        if (tp := TopicPartition(topic, partition)) in self.consumer.assignment():
            self.consumer.resume(tp)

    def paused(self) -> set[tuple[str, int]]:
        """Return the partitions that are not fetched."""
        return {(tp.topic, tp.partition) for tp in self.consumer.paused()}

    async def _parse(self, records: tuple[ConsumerRecord, ...]) -> KafkaAckableMessage:
        """Wrap the batch without looking inside: a hostile header must not skip its neighbours."""
        from faststream.kafka.message import KafkaAckableMessage  # noqa: PLC0415

        self._fetch_pace.records_came(self.consumer)
        return KafkaAckableMessage(
            body=b"", headers={}, raw_message=records, consumer=self.consumer
        )


def _broker_of(settings: RuntimeSettings) -> KafkaBroker:
    from faststream.kafka import KafkaBroker  # noqa: PLC0415 - commands do without FastStream

    return KafkaBroker(
        settings.bootstrap_servers.split(","),
        security=security(settings),
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_AGE_MS_MAX,
        apply_types=False,
        graceful_timeout=settings.stop_timeout_seconds,
        logger=None,
    )


def _untyped(on_batch: OnBatch) -> Callable[[Any], Awaitable[None]]:
    """Hide the parameter's type from FastStream, which would build a validator for it."""

    async def handle(records: Any) -> None:  # noqa: ANN401 - see above
        await on_batch(records)

    return handle


async def _raw_records(message: KafkaAckableMessage) -> tuple[ConsumerRecord, ...]:
    return cast("tuple[ConsumerRecord, ...]", message.raw_message)


async def check_topics(settings: RuntimeSettings, topics: Sequence[str]) -> int:
    """See that every topic exists with one partition for each shard; return how many there are.

    Raises:
        Halt: a topic is missing, or has another number of partitions than we have shards.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        described = {topic["topic"]: topic for topic in await admin.describe_topics(list(topics))}
    finally:
        await admin.close()
    for name in topics:
        count = len(described[name]["partitions"]) if name in described else 0
        if count != settings.shard_count:
            message = (
                f"topic {name} has {count} partitions and this service {settings.shard_count} "
                "shards: run `perennial setup`, or set SHARD_COUNT to what the topics were made with"
            )
            raise Halt(message)
    return len(topics)

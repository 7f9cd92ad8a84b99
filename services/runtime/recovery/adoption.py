"""Takes back into a log what was published of it, after its database was restored.

The topic holds the exact bytes and every column of an event, so the log becomes what it was: event
by event, hash by hash. Only what was never published is lost, and nobody has seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from schemas.envelope import Envelope
from services.runtime.authenticity import CHAIN_HASH, EventVerifier
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.kafka.reading import reader, records_until
from services.runtime.kafka.records.cloudevents import Record, read_record
from services.runtime.log.event_log import ShardHead, StoredEvent, chain_hash
from services.runtime.log.postgres_transaction import PostgresTransaction
from services.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_CLOCKS_DIFFER: Final = timedelta(hours=1)
_LEASE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Adopted:
    """What one shard took back."""

    shard: int
    events: int
    stream_ids: frozenset[str]


async def records_between(
    settings: KafkaSettings, topic: str, firsts: Mapping[int, int | datetime | None]
) -> dict[int, list[Any]]:
    """Return the records of each partition from an offset, a moment, or the oldest on, to the end.

    Raises:
        Transient: Kafka does not answer.
    """
    if not firsts:
        return {}
    found: dict[int, list[Any]] = {partition: [] for partition in firsts}
    async with reader(settings, topic) as consumer:
        partitions = {TopicPartition(topic, each): first for each, first in firsts.items()}
        consumer.assign(list(partitions))
        ends = await consumer.end_offsets(list(partitions))
        for tp, first in partitions.items():
            consumer.seek(tp, await _offset(consumer, tp, first, ends[tp]))
        async for record in records_until(consumer, ends):
            found[record.partition].append(record)
    return found


async def _offset(
    consumer: AIOKafkaConsumer, tp: TopicPartition, first: int | datetime | None, end: int
) -> int:
    if isinstance(first, int):
        return first
    if first is None:
        oldest: int = (await consumer.beginning_offsets([tp]))[tp]
        return oldest
    moment = int((first - _CLOCKS_DIFFER).timestamp() * 1000)
    at = (await consumer.offsets_for_times({tp: moment}))[tp]
    return end if at is None else int(at.offset)


def events_after(
    head: ShardHead,
    shard: int,
    source: str,
    records: Sequence[Record],
    verifier: EventVerifier | None = None,
) -> list[StoredEvent]:
    """Return the events of `source` that follow `head`, chained to it; a `verifier` chooses them.

    Raises:
        ConfigurationError: one between the head and the newest is not on the topic, or was
            published with another hash than it gets in this log.
    """
    events: list[StoredEvent] = []
    position, previous, sequence = head.position, head.hash, head.sequence
    for record in records:
        try:
            if verifier is not None:
                verifier.check(record)
            envelope, body = read_record(record)
        except Poison:
            continue
        if envelope.source != source or (envelope.sequence or 0) <= sequence:
            continue
        if envelope.sequence != sequence + 1:
            message = (
                f"{record.topic}/{shard} goes on with event {envelope.sequence} and the log ends at "
                f"{sequence}: what lies between is not on the topic any more. Restore a newer backup"
            )
            raise ConfigurationError(message)
        position, sequence = position + 1, sequence + 1
        event = _stored(envelope, body, shard, position)
        event = event._replace(hash=chain_hash(previous, event))
        _confirm_hash(event, record)
        previous = event.hash
        events.append(event)
    return events


def _confirm_hash(event: StoredEvent, record: Record) -> None:
    published = dict(record.headers).get(CHAIN_HASH)
    if published is not None and published != event.hash.hex().encode():
        message = (
            f"event {event.sequence} of {record.topic}/{event.shard} was published with another "
            "hash than it gets behind this log: the log was changed before it was restored, or the "
            "record is forged. Compare them (`perennial log verify`), then restore another backup"
        )
        raise ConfigurationError(message)


def _stored(envelope: Envelope, body: bytes, shard: int, position: int) -> StoredEvent:
    return StoredEvent(
        shard=shard,
        position=position,
        stream_id=envelope.subject or "",
        stream_version=envelope.streamversion or 1,
        event_id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        sequence=envelope.sequence or 0,
        account_id=envelope.partitionkey,
        correlation_id=envelope.correlationid or "",
        causation_id=envelope.causationid,
        traceparent=envelope.traceparent,
        occurred_at=envelope.time,
        recorded_at=envelope.recordedtime or envelope.time,
        body=body,
    )


async def heads(connection: Any) -> dict[int, tuple[ShardHead, datetime | None]]:  # noqa: ANN401 - asyncpg's
    """Return where each shard's log ends, and when that event was recorded."""
    rows = await connection.fetch(
        "SELECT shard.shard, head_position, head_hash, head_sequence, recorded_at FROM shard"
        " LEFT JOIN event ON event.shard = shard.shard AND position = head_position"
    )
    return {row[0]: (ShardHead(row[1], row[2], row[3]), row[4]) for row in rows}


async def adopt(connection: Any, events: Mapping[int, Sequence[StoredEvent]]) -> list[Adopted]:  # noqa: ANN401
    """Append the events of each shard, which are published already. The caller commits."""
    transaction = PostgresTransaction(connection, _LEASE_SECONDS)
    shards = [shard for shard, found in events.items() if found]
    await transaction.lock((), shards, ())
    adopted = []
    for shard in shards:
        found = events[shard]
        await transaction.append(found)
        await transaction.write_staged()
        streams = frozenset(event.stream_id for event in found)
        adopted.append(Adopted(shard, len(found), streams))
    await connection.execute(
        "UPDATE shard SET published_position = head_position WHERE shard = ANY($1::int[])", shards
    )
    return adopted

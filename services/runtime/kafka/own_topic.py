"""Whether the log is as new as what was published of it: a restored database may be older."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.runtime.errors import Halt, Transient
from services.runtime.kafka.client import client_options
from services.runtime.log.postgres_errors import transient_when_unwell
from services.runtime.settings import RuntimeSettings

_ANSWER_SECONDS: Final = 30.0
_FETCH_MS: Final = 200


async def check_own_topic(
    settings: RuntimeSettings, pool: asyncpg.Pool, *, source: str, topic: str
) -> None:
    """See that nothing of `source` is on its `topic` that its log does not hold.

    Raises:
        Halt: the log is older, and would give numbers again that consumers know.
        Transient: Kafka or Postgres does not answer.
    """
    # The topic first: whoever publishes meanwhile has it in the log before.
    published = await published_sequences(settings, source=source, topic=topic)
    with transient_when_unwell():
        rows = await pool.fetch("SELECT shard, head_sequence FROM shard")
    for row in rows:
        shard, ours = row["shard"], row["head_sequence"]
        if (theirs := published.get(shard, 0)) > ours:
            message = (
                f"{topic}/{shard} holds event {theirs} of {source} and this log ends at {ours}: the "
                "database was restored to an earlier moment. Going on would give the same numbers "
                "to other events: run `perennial recover adopt`, see docs/OPERATIONS.md"
            )
            raise Halt(message)


async def published_sequences(
    settings: RuntimeSettings, *, source: str, topic: str
) -> dict[int, int]:
    """Return the newest `sequence` of `source` in each partition of `topic` that has one.

    Raises:
        Transient: Kafka does not answer.
    """
    partitions = [TopicPartition(topic, shard) for shard in range(settings.shard_count)]
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await consumer.start()
            return await _last_sequences(consumer, source, partitions)
    except (KafkaError, TimeoutError, OSError) as error:
        message = f"Kafka does not say what {topic} holds ({type(error).__name__})"
        raise Transient(message) from error
    finally:
        await consumer.stop()


async def _last_sequences(
    consumer: AIOKafkaConsumer, source: str, partitions: list[TopicPartition]
) -> dict[int, int]:
    consumer.assign(partitions)
    firsts = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    filled = [tp for tp in partitions if ends[tp] > firsts[tp]]
    for tp in partitions:
        consumer.seek(tp, max(firsts[tp], ends[tp] - 1))
    found: dict[int, int] = {}
    while any([await consumer.position(tp) < ends[tp] for tp in filled]):
        for tp, records in (await consumer.getmany(timeout_ms=_FETCH_MS)).items():
            for record in records:
                if sequence := _sequence(record.headers, source):
                    found[tp.partition] = max(found.get(tp.partition, 0), sequence)
    return found


def _sequence(headers: Any, source: str) -> int | None:  # noqa: ANN401 - aiokafka's
    """Return the `sequence` of a record of `source`; a stranger's says nothing."""
    named: Mapping[str, bytes | None] = dict(headers)
    if (named.get("ce_source") or b"") != source.encode():
        return None
    text = named.get("ce_sequence") or b""
    return int(text) if text.isdigit() else None

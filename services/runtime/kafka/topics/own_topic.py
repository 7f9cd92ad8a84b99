"""Whether the log is as new as what was published of it: a restored database may be older."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import asyncpg
from aiokafka import TopicPartition

from services.runtime.authenticity import CHAIN_HASH, EventKeys, EventVerifier
from services.runtime.errors import Halt, Poison
from services.runtime.kafka.reading import reader, records_until
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Processor
from services.runtime.settings import RuntimeSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

_BACK_FACTOR: Final = 64
# An own event never lies before the position of its number.
_HASHES: Final = (
    "SELECT wanted.shard, encode(found.hash, 'hex') FROM unnest($1::int[], $2::bigint[])"
    " AS wanted(shard, sequence) CROSS JOIN LATERAL (SELECT hash FROM event"
    " WHERE event.shard = wanted.shard AND position >= wanted.sequence AND source = $3"
    " AND event.sequence = wanted.sequence ORDER BY position LIMIT 1) AS found"
)


class Published(NamedTuple):
    """The newest event of a service in a partition; the hash is empty where no key vouches for it."""

    sequence: int
    hash: str


async def check_own_topic(
    settings: RuntimeSettings, pool: asyncpg.Pool, processor: Processor
) -> None:
    """See that nothing of a service is on its topic that its log does not hold.

    A service that restores itself is not asked: it reads again what it lost, and decides the same.

    Raises:
        Halt: the log is older, and would give numbers again that consumers know, or has done so.
        Transient: Kafka or Postgres does not answer.
    """
    if processor.restores_itself:
        return
    source, topic = str(processor.source), processor.output_topic
    # The topic first: whoever publishes meanwhile has it in the log before.
    keys = EventKeys.of(settings.event_keys, processor.events.topics.values())
    verifier = keys.own(processor.group) if keys else None
    published = await _published(settings, verifier, source=source, topic=topic)
    columns = list(published), [each.sequence for each in published.values()]
    with transient_when_unwell():
        rows = await pool.fetch("SELECT shard, head_sequence FROM shard")
        hashes = await pool.fetch(_HASHES, *columns, source)
    held: dict[int, str] = {shard: found for shard, found in hashes}  # noqa: C416 - records
    for row in rows:
        shard, ours = row["shard"], row["head_sequence"]
        theirs, hash_there = published.get(shard, Published(0, ""))
        if theirs > ours:
            message = (
                f"{topic}/{shard} holds event {theirs} of {source} and this log ends at {ours}: the "
                "database was restored to an earlier moment. Going on would give the same numbers "
                "to other events: run `perennial recover adopt`, see docs/OPERATIONS.md"
            )
            raise Halt(message)
        if hash_there and held.get(shard) != hash_there:
            message = (
                f"{topic}/{shard} holds another event {theirs} of {source} than this log: the "
                "database lost its newest transactions, and the number was given again. See "
                "docs/OPERATIONS.md, Restore"
            )
            raise Halt(message)


async def _published(
    settings: RuntimeSettings, verifier: EventVerifier | None, *, source: str, topic: str
) -> dict[int, Published]:
    """Return the newest event of `source` in each partition of `topic` that has one.

    Raises:
        Transient: Kafka does not answer.
    """
    partitions = [TopicPartition(topic, shard) for shard in range(settings.shard_count)]
    async with reader(settings, topic) as consumer:
        return await _last_sequences(consumer, source, partitions, verifier)


async def _last_sequences(
    consumer: AIOKafkaConsumer,
    source: str,
    partitions: list[TopicPartition],
    verifier: EventVerifier | None,
) -> dict[int, Published]:
    """Look at the ends of the partitions, and further back where only strangers wrote last."""
    consumer.assign(partitions)
    firsts = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    wanted = {tp: ends[tp] for tp in partitions if ends[tp] > firsts[tp]}
    found: dict[int, Published] = {}
    back = 1
    while wanted:
        starts = {tp: max(firsts[tp], ends[tp] - back) for tp in wanted}
        found |= await _newest_between(consumer, source, starts, wanted, verifier)
        wanted = {
            tp: start
            for tp, start in starts.items()
            if tp.partition not in found and start > firsts[tp]
        }
        back *= _BACK_FACTOR
    return found


async def _newest_between(
    consumer: AIOKafkaConsumer,
    source: str,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    verifier: EventVerifier | None,
) -> dict[int, Published]:
    for tp, start in starts.items():
        consumer.seek(tp, start)
    found: dict[int, Published] = {}
    async for record in records_until(consumer, ends):
        known = found.get(record.partition)
        newer = _event(record, source, verifier)
        if newer and (known is None or newer.sequence >= known.sequence):
            found[record.partition] = newer
    return found


def _event(record: Any, source: str, verifier: EventVerifier | None) -> Published | None:  # noqa: ANN401 - aiokafka's
    """Return which event of `source` a record is; what a stranger or a forger says is nothing."""
    named: Mapping[str, bytes | None] = dict(record.headers)
    if (named.get("ce_source") or b"") != source.encode():
        return None
    if verifier is not None:
        try:
            verifier.check(record)
        except Poison:
            return None
    text = named.get("ce_sequence") or b""
    chained = (named.get(CHAIN_HASH) or b"").decode(errors="replace") if verifier else ""
    return Published(int(text), chained) if text.isdigit() else None

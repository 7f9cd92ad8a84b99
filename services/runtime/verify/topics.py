"""Compares what is on a service's topic with its log: a log that was rewritten differs from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from schemas.registry import EventRegistry
from services.runtime.archive.ranges import Archive
from services.runtime.authenticity import CHAIN_HASH, MAC, EventKeys
from services.runtime.errors import Poison
from services.runtime.kafka.reading import reader, records_until
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.settings import KafkaSettings
from services.runtime.verify.checks import Check, LogHead, place
from services.runtime.verify.slices import SLICE

if TYPE_CHECKING:
    import asyncpg

_DIFFERS: Final = (
    "the log was changed after it was published, lost its newest events, or somebody else wrote to "
    "the topic: follow 'Two events with one number' in docs/OPERATIONS.md"
)
_OWN: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND source = $3 ORDER BY position LIMIT $4"
)


@dataclass(slots=True)
class OwnEvents:
    """The events of one shard that the service itself wrote, by number, mostly ascending."""

    connection: asyncpg.Connection
    shard: int
    source: str
    _events: dict[int, StoredEvent]
    _after: int = 0

    async def numbered(self, sequence: int) -> StoredEvent | None:
        """Return the event with a number; one that is lower than the last is looked for again."""
        while sequence not in self._events:
            first = min(self._events, default=None)
            if first is None or sequence < first:
                # Number n is at position n or behind it.
                self._after = max(0, sequence - 1)
            rows = await self.connection.fetch(_OWN, self.shard, self._after, self.source, SLICE)
            if not rows:
                return None
            found = [stored_event(row) for row in rows]
            self._after = found[-1].position
            self._events = {event.sequence: event for event in found}
            if sequence < found[0].sequence:
                return None
        return self._events[sequence]


async def check_topic(  # noqa: PLR0913 - what is compared with what
    settings: KafkaSettings,
    connection: asyncpg.Connection,
    heads: dict[int, LogHead],
    *,
    events: EventRegistry,
    topic: str,
    archive: Archive,
) -> Check:
    """Compare every record that the topic of a service still holds with the event in its log.

    With keys, what is not authentic is only counted. So is what is archived.

    Raises:
        Transient: Kafka does not answer.
    """
    keys = EventKeys.of(settings.event_keys, events.topics.values())
    verifier = keys.own(events.topics[topic].written_by) if keys else None
    source = events.topics[topic].source_rule
    logs = {shard: OwnEvents(connection, shard, source, {}) for shard in heads}
    left = {shard: ranges[-1].last_sequence for shard, ranges in archive.ranges.items()}
    compared = forged = unread = 0
    problem: str | None = None
    async for record in _records(settings, topic, sorted(heads)):
        if verifier is not None:
            try:
                verifier.check(record)
            except Poison:
                forged += 1
                continue
        if _number(record) in range(1, left.get(record.partition, 0) + 1):
            unread += 1
            continue
        compared += 1
        if problem is None:
            problem = await _difference(record, logs[record.partition], events)
    told = f"{compared} records of {topic}" + (f", {forged} not authentic" if forged else "")
    archived = f"{unread} records are archived in the log" if unread else ""
    return Check("topic = log", told, problem, _DIFFERS, archived)


def _number(record: Any) -> int:  # noqa: ANN401 - aiokafka's
    number = dict(record.headers).get("ce_sequence") or b""
    return int(number) if number.isdigit() else 0


async def _difference(
    record: Any,  # noqa: ANN401 - aiokafka's
    log: OwnEvents,
    events: EventRegistry,
) -> str | None:
    headers = dict(record.headers)
    where = f"{record.topic}/{record.partition} offset {record.offset}"
    number, event_id = headers.get("ce_sequence") or b"", (headers.get("ce_id") or b"")[:36]
    if not number.isdigit():
        return f"{where} has no sequence"
    event = await log.numbered(int(number))
    if event is None:
        return f"{where} is number {int(number)} ({event_id!r}), which the log does not hold"
    ours = dict(binary_headers(event, events))
    if CHAIN_HASH not in headers:
        del ours[CHAIN_HASH]
    published = {name: value for name, value in headers.items() if name != MAC}
    if published == ours and record.value == event.body:
        return None
    return f"{where} is number {int(number)} ({event_id!r}) and differs from {place(event)}"


async def _records(settings: KafkaSettings, topic: str, shards: list[int]) -> AsyncIterator[Any]:
    """Yield what the topic holds now, each partition in order.

    Raises:
        Transient: Kafka does not answer.
    """
    async with reader(settings, topic) as consumer:
        partitions = [TopicPartition(topic, shard) for shard in shards]
        consumer.assign(partitions)
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        for tp in partitions:
            # Not `seek_to_beginning`: the client's own first look for the end may come after it.
            consumer.seek(tp, firsts[tp])
        async for record in records_until(consumer, ends):
            yield record

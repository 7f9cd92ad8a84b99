"""From a Kafka record to a command: everything that can be said of a record before the transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas import EVENT_TYPES, TOPIC_OF
from schemas.envelope import UPSTREAM_PREFIX, Envelope, Event
from schemas.topics import REQUESTS, TOPICS
from services.runtime.errors import Poison
from services.runtime.flow.work import Work
from services.runtime.kafka.cloudevents import Record, read_record, validation_summary
from services.runtime.kafka.partitions import shard_of
from services.runtime.processor import Ignored, Incoming, Processor, Task

_SOURCE_OF: Final = {topic.name: f"/billing/{topic.written_by}" for topic in TOPICS}


class Parsed(NamedTuple):
    """A record after parsing: `work` to do, or why there is none (`poison`, `ignored`).

    `sequenced` is the envelope of an event that one of our services wrote: its `sequence` counts.
    """

    record: Record
    sequenced: Envelope | None = None
    work: Work | None = None
    poison: Poison | None = None
    ignored: Ignored | None = None


class RecordParser:
    """Parses records for one service. Never raises, whatever the bytes."""

    def __init__(self, processor: Processor[Any], shard_count: int) -> None:
        """Parse for `processor`, whose accounts are spread over `shard_count` shards."""
        self._processor = processor
        self._shard_count = shard_count
        self._strict = {sub.topic: sub.strict for sub in processor.subscriptions}

    def parse(self, record: Record, now: datetime) -> Parsed:
        """Return what `record` asks for, or why it cannot be handled."""
        sequenced: Envelope | None = None
        try:
            envelope, body = read_record(record)
            self._check_origin(record, envelope)
            sequenced = None if record.topic == REQUESTS.name else envelope
            model = self._model(record, envelope)
            if model is None:
                return Parsed(record, sequenced)
            event = model.parse(body)
            if event.account_id != envelope.partitionkey:
                message = "account_id in the body differs from partitionkey: make them the same"
                raise Poison("account_mismatch", message)
            incoming = Incoming(envelope, event, body)
            task = self._processor.handlers[model](incoming, now)
        except ValidationError as error:
            return Parsed(
                record, sequenced, poison=Poison("body_invalid", validation_summary(error))
            )
        except Poison as poison:
            return Parsed(record, sequenced, poison=poison)
        if isinstance(task, Ignored):
            return Parsed(record, sequenced, ignored=task)
        return Parsed(record, sequenced, work=self._work(task, incoming))

    def _model(self, record: Record, envelope: Envelope) -> type[Event] | None:
        model = EVENT_TYPES.get(envelope.type)
        belongs = model is not None and TOPIC_OF[envelope.type].name == record.topic
        if model is not None and belongs and model in self._processor.handlers:
            return model
        if belongs or not self._strict[record.topic]:
            return None
        name = envelope.type.rpartition(".v")[0]
        if model is None and any(known.rpartition(".v")[0] == name for known in EVENT_TYPES):
            message = "this major version of the event is not known here: see docs/EVENTS.md"
            raise Poison("unknown_version", message)
        message = "this event type does not belong on this topic: see docs/EVENTS.md"
        raise Poison("unknown_event_type", message)

    def _check_origin(self, record: Record, envelope: Envelope) -> None:
        """Refuse events on a topic that belongs to another writer, and misplaced ones of our own.

        An upstream's record may lie in any partition: we compute the shard ourselves.
        """
        if record.topic == REQUESTS.name:
            if not envelope.source.startswith(UPSTREAM_PREFIX):
                message = f"events on {record.topic} have a source under {UPSTREAM_PREFIX}"
                raise Poison("source_not_allowed", message)
            return
        if envelope.source != _SOURCE_OF[record.topic]:
            message = f"only {_SOURCE_OF[record.topic]} writes to {record.topic}"
            raise Poison("source_not_allowed", message)
        if envelope.sequence is None:
            raise Poison("sequence_missing", "events of the services carry ce_sequence")
        if shard_of(envelope.partitionkey, self._shard_count) != record.partition:
            raise Poison("partition_mismatch", "the record is not in its account's partition")

    def _work(self, task: Task, incoming: Incoming) -> Work:
        envelope = incoming.envelope
        inherited = None if envelope.source.startswith(UPSTREAM_PREFIX) else envelope.correlationid
        return Work(
            task=task,
            shard=shard_of(envelope.partitionkey, self._shard_count),
            account_id=envelope.partitionkey,
            cause_event_id=envelope.id,
            correlation_id=inherited or task.stream_id.partition("/")[2],
            traceparent=envelope.traceparent,
            incoming=incoming,
        )

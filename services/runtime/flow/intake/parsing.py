"""From a Kafka record to a command: everything that can be said of a record before the transaction."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from pydantic import ValidationError

from schemas.envelope import AHEAD_MAX, Envelope, Event, happened_field
from services.runtime.authenticity import EventVerifier
from services.runtime.errors import PerennialError, Poison
from services.runtime.flow.intake.result import Skipped
from services.runtime.flow.work import Parsed, Work, consumed
from services.runtime.kafka.records.cloudevents import (
    Record,
    check_body,
    read_record,
    validation_summary,
)
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.stream_ids import key_of
from services.runtime.processor import Ignored, Incoming, Processor, Task

UNREADABLE: Final = "unreadable"
"""The reason of a record whose reading raised something unforeseen."""
_RUST_PANIC: Final = "pyo3_runtime"
"""Where pydantic's core defines what it raises on a defect of its own: it is no `Exception`."""


class RecordParser:
    """Parses records for one service. The worst that comes of any bytes is poison."""

    def __init__(
        self, processor: Processor, shard_count: int, verifier: EventVerifier | None = None
    ) -> None:
        """Parse for `processor`, whose accounts are spread over `shard_count` shards.

        With a `verifier`, nothing on a topic of our own is believed that it does not vouch for.
        """
        self._verifier = verifier
        self._processor = processor
        self._shard_count = shard_count
        self._events = processor.events
        self._strict = {sub.topic: sub.strict for sub in processor.subscriptions}

    def parse(self, record: Record, now: datetime) -> Parsed:
        """Return what `record` asks for, or why it cannot be handled.

        Raises:
            Halt: a handler says that going on would be wrong.
        """
        try:
            return self._parse(record, now)
        except PerennialError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__module__ != _RUST_PANIC:
                raise
            # Whoever sent the record chose every byte of it: the error's text may repeat them.
            message = (
                f"{type(error).__name__} while reading: a defect of this version; report it, deploy "
                "the version that mends it, then redrive"
            )
            return Parsed(record, poison=Poison(UNREADABLE, message))

    def dated(self, work: Work, now: datetime) -> Work:
        """Return the same work as of `now`: what a handler asks differs with the time alone."""
        if work.incoming is None:
            return work
        task = self._task(work.incoming, now)
        return work if isinstance(task, Ignored) else work._replace(task=task)

    def _task(self, incoming: Incoming, now: datetime) -> Task | Ignored:
        handler = self._processor.handlers[type(incoming.event)]
        return handler(incoming.envelope, incoming.event, now)

    def _parse(self, record: Record, now: datetime) -> Parsed:
        sequenced: Envelope | None = None
        try:
            self._check_authentic(record)
            envelope, body = read_record(record, self._events.field_names)
            self._check_origin(record, envelope)
            sequenced = None if self._events.topics[record.topic].external else envelope
            model = self._model(record, envelope)
            if model is None:
                return Parsed(record, sequenced)
            if self._events.topics[record.topic].external:
                check_body(body, self._events.field_names)
            event = model.parse(body)
            if event.account_id != envelope.partitionkey:
                message = "account_id in the body differs from partitionkey: make them the same"
                raise Poison("account_mismatch", message)
            _check_happened(event, now)
            incoming = Incoming(envelope, event, body)
            task = self._task(incoming, now)
        except ValidationError as error:
            told = partial(self._summary, error.with_traceback(None))
            return Parsed(record, sequenced, poison=Poison("body_invalid", told))
        except Poison as poison:
            return Parsed(record, sequenced, poison=poison)
        if isinstance(task, Ignored):
            return Parsed(record, sequenced, ignored=task)
        work = self._work(task, incoming)
        own = envelope.source == self._processor.source
        if own and task.account_id is not None and work.shard == record.partition:
            return Parsed(record, sequenced, ignored=Ignored(Skipped.SENT_WITHIN_SHARD))
        return Parsed(record, sequenced, work=work)

    def _summary(self, error: ValidationError) -> str:
        return validation_summary(error, self._events.field_names)

    def _model(self, record: Record, envelope: Envelope) -> type[Event] | None:
        model = self._events.types.get(envelope.type)
        belongs = model is not None and self._events.topic_of[envelope.type].name == record.topic
        if model is not None and belongs and model in self._processor.handlers:
            return model
        if belongs or not self._strict[record.topic]:
            return None
        name = envelope.type.rpartition(".v")[0]
        if model is None and any(known.rpartition(".v")[0] == name for known in self._events.types):
            message = "this major version of the event is not known here: see docs/EVENTS.md"
            raise Poison("unknown_version", message)
        where = (
            f"publish it to {self._events.topic_of[envelope.type].name}"
            if model
            else "see docs/EVENTS.md"
        )
        message = f"this event type does not belong on this topic: {where}"
        raise Poison("unknown_event_type", message)

    def _check_authentic(self, record: Record) -> None:
        """Refuse what none of our services wrote, before anything of it is looked at.

        A forged record has no place in any sequence: it neither takes a number nor leaves a gap.
        """
        if self._verifier is not None and not self._events.topics[record.topic].external:
            self._verifier.check(record)

    def _check_origin(self, record: Record, envelope: Envelope) -> None:
        """Refuse events on a topic that belongs to another writer, and misplaced ones of our own.

        A record from around us may lie in any partition: we compute the shard ourselves.
        """
        topic = self._events.topics[record.topic]
        if not topic.admits(envelope.source):
            message = f"only {topic.source_rule} writes to {topic.name}"
            raise Poison("source_not_allowed", message)
        if topic.external:
            return
        if envelope.sequence is None:
            raise Poison("sequence_missing", "events of the services carry ce_sequence")
        if shard_of(envelope.partitionkey, self._shard_count) != record.partition:
            raise Poison("partition_mismatch", "the record is not in its account's partition")

    def _work(self, task: Task, incoming: Incoming) -> Work:
        envelope = incoming.envelope
        account_id = task.account_id or envelope.partitionkey
        inherited = (
            None if self._events.topic_of[envelope.type].external else envelope.correlationid
        )
        return Work(
            task=task,
            shard=shard_of(account_id, self._shard_count),
            account_id=account_id,
            cause=consumed(envelope),
            cause_event_id=envelope.id,
            correlation_id=inherited or key_of(task.stream_id),
            traceparent=envelope.traceparent,
            incoming=incoming,
        )


def _check_happened(event: Event, now: datetime) -> None:
    """Refuse what its sender dates so far ahead that it is no clock's or time zone's mistake."""
    field = happened_field(type(event))
    if field is not None and getattr(event, field) > now + AHEAD_MAX:
        message = (
            f"{field} is more than a day ahead of our clock: send the time at which it happened, or "
            "redrive this record when it has come"
        )
        raise Poison("time_ahead", message)

"""One request ready to be published, and the checks that make it so. No file formats, no Kafka."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from schemas import EVENT_TYPES, TOPIC_OF
from schemas.envelope import SPEC_VERSION, Envelope, Event, happened_field, utc_text
from schemas.registry import Topic
from schemas.topics import TOPICS
from services.runtime.kafka.records.record_size import BODY_BYTES_MAX
from services.runtime.kafka.records.strict_json import nulls
from services.runtime.plain_words import problems_of

NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
PUBLISHED_TOPICS: Final = tuple(topic for topic in TOPICS if topic.external)
REQUEST_TYPES: Final = {
    name: model for name, model in EVENT_TYPES.items() if TOPIC_OF[name].external
}
_NAMESPACE: Final = UUID("0b6a6b52-8f5e-5d0c-9a57-6d3c6d1f2a90")
_NAME_LENGTH_MAX: Final = 64
"""Longer names resemble no field, and comparing them takes seconds."""
_SHORT_FORM: Final = frozenset({"type", "data", "id", "time", "source", "traceparent"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in one place of one row, and what to do; never a value from the file."""

    field: str
    message: str


class InvalidRow(ValueError):
    """A row that cannot be published, with everything that is wrong in it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A checked request of one line of a file."""

    line: int
    envelope: Envelope
    body: bytes

    @property
    def topic(self) -> Topic:
        return TOPIC_OF[self.envelope.type]

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        envelope = self.envelope
        attributes = {
            "specversion": SPEC_VERSION,
            "id": str(envelope.id),
            "source": envelope.source,
            "type": envelope.type,
            "time": utc_text(envelope.time),
            "partitionkey": envelope.partitionkey,
            "correlationid": envelope.correlationid,
            "dataschema": EVENT_TYPES[envelope.type].schema_uri(),
            "traceparent": envelope.traceparent,
        }
        headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items() if value]
        return [*headers, ("content-type", b"application/json")]


def is_source(text: str) -> bool:
    """Say whether `text` names somebody who may publish to one of the topics."""
    return any(
        topic.admits(text) and NAME_PATTERN.fullmatch(text.removeprefix(topic.source_prefix or ""))
        for topic in PUBLISHED_TOPICS
    )


def checked_request(line: int, row: object, *, source: str | None) -> UpstreamRequest:
    """Return the request that `row` describes: a structured CloudEvent, or `type` and `data`.

    `source` is for rows that do not name one; without it, they come from this command itself. A
    missing id is derived from source, line and content, so that the same file gives the same ids
    again.

    Raises:
        InvalidRow: with every problem found.
    """
    if not isinstance(row, dict):
        raise InvalidRow(Problem("", "is not a JSON object: write one object per line"))
    structured = "specversion" in row
    if not structured:
        _refuse_unknown(row)
    model = _model(row.get("type"))
    event = _event(model, row.get("data"))
    if structured and row["specversion"] != SPEC_VERSION:
        raise InvalidRow(Problem("specversion", f"must be {SPEC_VERSION}"))
    body = event.body()
    if len(body) > BODY_BYTES_MAX:
        raise InvalidRow(Problem("data", f"is longer than {BODY_BYTES_MAX} bytes: shorten it"))
    return UpstreamRequest(line, _envelope(line, row, event, source), body)


def _refuse_unknown(row: dict[str, Any]) -> None:
    unknown = sorted(row.keys() - _SHORT_FORM)
    if unknown:
        told = f"is not known here: write {{{', '.join(sorted(_SHORT_FORM))}}}, or a CloudEvent"
        raise InvalidRow(*(Problem(name, f"{told} with specversion") for name in unknown))


def _model(given: object) -> type[Event]:
    names = {model.__name__: model for model in REQUEST_TYPES.values()}
    if isinstance(given, str) and (model := REQUEST_TYPES.get(given) or names.get(given)):
        return model
    raise InvalidRow(Problem("type", f"must be one of {', '.join(names)}"))


def _event(model: type[Event], data: object) -> Event:
    if not isinstance(data, dict):
        raise InvalidRow(Problem("data", f"must be an object with the fields of {model.__name__}"))
    left_out = [
        Problem(".".join(map(str, ("data", *path))), "null is no value: leave the field out")
        for path in nulls(data)
    ]
    try:
        event = model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        told = {problem.field for problem in left_out}
        others = _problems(error, "data", list(model.model_fields))
        left_out += [problem for problem in others if problem.field not in told]
    if left_out:
        raise InvalidRow(*left_out)
    return event


def _envelope(line: int, row: dict[str, Any], event: Event, source: str | None) -> Envelope:
    data, topic = event.model_dump(), TOPIC_OF[event.wire_type()]
    attributes = {
        name: row[name] for name in Envelope.model_fields if row.get(name) is not None
    } | {"type": event.wire_type()}
    attributes.setdefault("source", source or f"{topic.source_prefix}cli")
    attributes.setdefault("time", data[happened_field(type(event)) or ""])
    attributes.setdefault("partitionkey", event.account_id)
    attributes.setdefault("correlationid", data.get("renewal_id") or data.get("topup_id"))
    attributes.setdefault("id", _derived_id(attributes["source"], line, event))
    try:
        envelope = Envelope.model_validate(attributes)
    except ValidationError as error:
        raise InvalidRow(*_problems(error, "", list(Envelope.model_fields))) from None
    if not topic.admits(envelope.source):
        told = (
            f"must be {topic.source_rule} for {type(event).__name__}: {topic.written_by} writes it"
        )
        raise InvalidRow(Problem("source", told))
    if envelope.partitionkey != event.account_id:
        raise InvalidRow(
            Problem("partitionkey", "must be the account_id of the data; leave it out")
        )
    return envelope


def _derived_id(source: str, line: int, event: Event) -> UUID:
    return uuid5(_NAMESPACE, f"{source}\n{line}\n{event.wire_type()}\n{event.body().decode()}")


def _problems(error: ValidationError, prefix: str, fields: list[str]) -> list[Problem]:
    problems = []
    for problem in problems_of(error):
        path = [str(part) for part in problem["loc"]]
        field = ".".join(([prefix] if prefix else []) + path)
        problems.append(Problem(field, _advice(problem["type"], problem["msg"], path, fields)))
    return problems


def _advice(kind: str, message: str, path: list[str], fields: list[str]) -> str:
    if kind == "missing":
        return "is missing: add it"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(path[-1][:_NAME_LENGTH_MAX], fields, n=1)
        return f"is not known: did you mean {close[0]}?" if close else "is not known: remove it"
    return message

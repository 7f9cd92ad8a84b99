"""The AsyncAPI 3.0 document of the whole system: topics, messages, and which service does what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas import MESSAGES
from schemas.envelope import Message
from schemas.generation.event_table import summary_of
from schemas.generation.headers import dead_letter_headers, event_headers, example_headers
from schemas.generation.json_schema import json_schema
from schemas.registry import SHARD_COUNT_DEFAULT, Topic
from schemas.topics import ALL_TOPICS

EXAMPLES: Final = Path(__file__).parents[1] / "examples"
_DAY_MS: Final = 24 * 60 * 60 * 1000
_DEAD_LETTER: Final = "DeadLetter"
_CORRELATION: Final = {"location": "$message.header#/ce_correlationid"}


def example_of(model: type[Message]) -> dict[str, Any]:
    """Return the golden example of `model`: a CloudEvent in structured mode."""
    path = EXAMPLES / model.__name__ / f"v{model.schema_version}.json"
    example: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return example


def asyncapi_document() -> dict[str, Any]:
    """Return the document as plain data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Perennial",
            "version": "1.0.0",
            "description": (
                "Event-sourced billing for prepaid eSIM plans. Every message is a CloudEvent 1.0 "
                "in binary mode; requests may also arrive in structured mode. The message key is "
                "the account_id, placed by Kafka's murmur2 partitioner; on the catalogue, a table, "
                "it is the plan_code. docs/EVENTS.md explains the rest."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> dict[str, Any]:
    channels = {
        topic.name: _channel(topic.name, topic.about, _names(topic), topic) for topic in ALL_TOPICS
    }
    for topic in ALL_TOPICS:
        for group in topic.groups:
            name = topic.dead_letter_topic(group)
            about = f"records of {topic.name} that {group} could not handle, as they arrived"
            channels[name] = _channel(name, about, [_DEAD_LETTER], topic)
    return channels


def _names(topic: Topic) -> list[str]:
    return [model.__name__ for model, written_to in MESSAGES if written_to == topic]


def _channel(name: str, about: str, messages: list[str], topic: Topic) -> dict[str, Any]:
    kept = "delete.retention.ms" if topic.compacted else "retention.ms"
    return {
        "address": name,
        "description": about,
        "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages},
        "bindings": {
            "kafka": {
                "topic": name,
                "partitions": topic.partition_count(SHARD_COUNT_DEFAULT),
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    kept: topic.retention_days * _DAY_MS,
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> dict[str, Any]:
    operations = {}
    for topic in ALL_TOPICS:
        operations[f"{topic.written_by}.send.{topic.name}"] = _operation(
            "send", topic.written_by, topic.name
        )
        for group in topic.groups:
            operations[f"{group}.receive.{topic.name}"] = _operation("receive", group, topic.name)
            letters = topic.dead_letter_topic(group)
            operations[f"{group}.send.{letters}"] = _operation("send", group, letters)
        if not topic.external:
            operations[f"upstream.receive.{topic.name}"] = _operation(
                "receive", "upstream", topic.name
            )
    return operations


def _operation(action: str, service: str, channel: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "tags": [{"name": service}],
    }


def _messages() -> dict[str, Any]:
    messages = {model.__name__: _message(model, topic) for model, topic in MESSAGES}
    messages[_DEAD_LETTER] = {
        "name": _DEAD_LETTER,
        "title": _DEAD_LETTER,
        "summary": "The original key, value and headers, and beside them why and where from.",
        "contentType": "application/octet-stream",
        "headers": dead_letter_headers(),
        "payload": {"description": "The bytes of the original record, whatever they were."},
    }
    return messages


def _message(model: type[Message], topic: Topic) -> dict[str, Any]:
    name, example = model.__name__, example_of(model)
    return {
        "name": model.wire_type(),
        "title": name,
        "summary": summary_of(model),
        "contentType": "application/json",
        **({} if topic.compacted else {"correlationId": _CORRELATION}),
        "headers": event_headers(model, topic),
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": _key(topic)},
                "bindingVersion": "0.5.0",
            }
        },
        "examples": [
            {"name": name, "headers": example_headers(example), "payload": example["data"]}
        ],
    }


def _key(topic: Topic) -> str:
    return "the plan_code" if topic.compacted else "the account_id"


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for model, _ in MESSAGES:
        schema = _in_components(json_schema(model))
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = {
            key: part for key, part in schema.items() if key not in {"$schema", "$id"}
        }
    return dict(sorted(schemas.items()))


def _in_components(part: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Point `#/$defs/X` at `#/components/schemas/X`, where this document keeps them."""
    if isinstance(part, dict):
        return {key: _in_components(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_in_components(one) for one in part]
    if isinstance(part, str):
        return part.replace("#/$defs/", "#/components/schemas/")
    return part

"""The Kafka headers of a message as JSON Schema: CloudEvents in binary mode, and dead letters."""

from __future__ import annotations

from typing import Any, Final

from schemas.envelope import SPEC_VERSION, Message
from schemas.registry import Topic

CONTENT_TYPE: Final = "content-type"
_TEXT: Final = {"type": "string"}
_UUID: Final = {"type": "string", "format": "uuid"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "string", "pattern": "^[0-9]{1,20}$"}
_OF_OUR_LOGS: Final[dict[str, Any]] = {
    "ce_causationid": _UUID,
    "ce_recordedtime": _MOMENT,
    "ce_sequence": {
        **_COUNT,
        "description": "dense per source and partition: tells duplicates and gaps",
    },
    "ce_streamversion": _COUNT,
    "ce_chainhash": {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "the event's hash in the log of its producer, chained to the one before",
    },
    "ce_mac": {
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9-]{0,31}:[0-9a-f]{64}$",
        "description": "key id and HMAC-SHA256 of the whole record; for our services",
    },
}


def event_headers(model: type[Message], topic: Topic) -> dict[str, Any]:
    """Return the headers of `model` on `topic`: our own topics have more of them than requests."""
    properties: dict[str, Any] = {
        "ce_specversion": {"const": SPEC_VERSION},
        "ce_id": _UUID,
        "ce_source": _source(topic),
        "ce_type": {"const": model.wire_type()},
        "ce_time": _MOMENT,
    }
    key = "plan_code" if topic.compacted else "account_id"
    ours: dict[str, Any] = {
        CONTENT_TYPE: {"const": "application/json"},
        "ce_partitionkey": {"type": "string", "description": f"the {key}, as the key is"},
    }
    if topic.compacted:
        return _row_headers(model, properties | ours)
    optional: dict[str, Any] = {
        **ours,
        "ce_subject": {"type": "string", "description": "the stream the event belongs to"},
        "ce_dataschema": {"const": model.schema_uri()},
        "ce_correlationid": {"type": "string", "description": "the request that started it"},
        "ce_traceparent": {"type": "string", "description": "W3C trace context of the origin"},
        **({} if topic.external else _OF_OUR_LOGS),
    }
    return {
        "type": "object",
        "required": [*properties, *([] if topic.external else [*ours, "ce_sequence"])],
        "properties": properties | optional,
    }


def _source(topic: Topic) -> dict[str, str]:
    if not topic.external:
        return {"const": topic.source_rule}
    return {"type": "string", "pattern": f"^{topic.source_prefix}[a-z0-9][a-z0-9-]{{0,62}}$"}


def _row_headers(model: type[Message], properties: dict[str, Any]) -> dict[str, Any]:
    subject = {"type": "string", "description": "what the row is about"}
    optional = {"ce_subject": subject, "ce_dataschema": {"const": model.schema_uri()}}
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties | optional,
    }


def example_headers(example: dict[str, Any]) -> dict[str, str]:
    """Return the headers that the structured-mode `example` has in binary mode."""
    attributes = {
        f"ce_{name}": str(value)
        for name, value in example.items()
        if name not in {"data", "datacontenttype"}
    }
    return {CONTENT_TYPE: example["datacontenttype"]} | attributes


def dead_letter_headers() -> dict[str, Any]:
    """Return the headers that a dead letter has beside those of the original record."""
    properties = {
        "dlq-reason": {"type": "string", "description": "a short stable code"},
        "dlq-original-topic": _TEXT,
        "dlq-original-partition": _COUNT,
        "dlq-original-offset": _COUNT,
        "dlq-at": _MOMENT,
        "dlq-attempts": _COUNT,
    }
    return {"type": "object", "required": list(properties), "properties": properties}

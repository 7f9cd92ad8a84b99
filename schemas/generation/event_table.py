"""The tables of docs/EVENTS.md and README.md that must not drift from the code, between markers."""

from __future__ import annotations

import inspect
from typing import Any

from schemas import MESSAGES
from schemas.envelope import Message
from schemas.generation.json_schema import json_schema
from schemas.generation.sections import with_sections
from schemas.registry import Topic
from schemas.topics import ALL_TOPICS


def with_event_tables(page: str) -> str:
    """Return `page` with each marked section written anew.

    Raises:
        KeyError: the page marks a section that nothing generates.
    """
    sections = {
        "topics": _topics,
        "events": _events,
        "event_list": _event_list,
        "fields": _fields,
        "parts": _parts,
    }
    return with_sections(page, sections)


def _topics() -> str:
    rows = ["| topic | written by | read by | carries |", "|---|---|---|---|"]
    rows += [
        f"| `{topic.name}` | {topic.written_by} "
        f"| {', '.join((*topic.groups, *_upstream_reader(topic)))} | {topic.about} |"
        for topic in ALL_TOPICS
    ]
    return "\n".join(rows)


def _upstream_reader(topic: Topic) -> tuple[str, ...]:
    if topic.compacted:
        return ("everybody",)
    return () if topic.external else ("upstream",)


def _events() -> str:
    rows = ["| event | topic | what it says | schema, example |", "|---|---|---|---|"]
    rows += [
        f"| `{model.__name__}` | `{topic.name}` | {summary_of(model)} "
        f"| [schema](../schemas/json/{model.__name__}.v{model.schema_version}.json), "
        f"[example](../schemas/examples/{model.__name__}/v{model.schema_version}.json) |"
        for model, topic in MESSAGES
    ]
    return "\n".join(rows)


def _event_list() -> str:
    """Return the short table; its links start at the root of the repository."""
    rows = ["| event | topic | what it says |", "|---|---|---|"]
    rows += [
        f"| [`{model.__name__}`](docs/EVENTS.md#{model.__name__.lower()}) | `{topic.name}` "
        f"| {summary_of(model)} |"
        for model, topic in MESSAGES
    ]
    return "\n".join(rows)


def _fields() -> str:
    return "\n\n".join(
        f"### {model.__name__}\n\n{summary_of(model)}\n\n{_field_table(json_schema(model))}"
        for model, _ in MESSAGES
    )


def _parts() -> str:
    parts: dict[str, dict[str, Any]] = {}
    for model, _ in MESSAGES:
        parts |= json_schema(model).get("$defs", {})
    return "\n\n".join(f"### {name}\n\n{_part(part)}" for name, part in sorted(parts.items()))


def _part(part: dict[str, Any]) -> str:
    about = " ".join(part.get("description", "").split())
    if "enum" in part:
        return f"{about}\n\n{', '.join(f'`{one}`' for one in part['enum'])}"
    return f"{about}\n\n{_field_table(part)}"


def _field_table(schema: dict[str, Any]) -> str:
    rows = ["| field | type | required |", "|---|---|---|"]
    rows += [
        f"| `{name}` | {_type_of(part)} | {'yes' if name in schema.get('required', []) else ''} |"
        for name, part in schema["properties"].items()
    ]
    return "\n".join(rows)


def _type_of(part: dict[str, Any]) -> str:
    if "$ref" in part:
        return f"`{part['$ref'].rpartition('/')[2]}`"
    if part.get("type") == "array":
        return f"list of {_type_of(part['items'])}"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{one}`" for one in part["enum"])
    default = f", default `{part['default']}`" if part.get("default", "") != "" else ""
    about = f": {part['description']}" if "description" in part else ""
    return f"{part.get('format') or part['type']}{default}{about}"


def summary_of(model: type[Message]) -> str:
    """Return the docstring of `model` on one line."""
    return " ".join((inspect.getdoc(model) or "").split())

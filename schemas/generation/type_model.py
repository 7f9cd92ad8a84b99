"""The JSON Schemas as named types: what the generators of TypeScript and Go share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas import MESSAGES
from schemas.generation.json_schema import json_schema

Schema = dict[str, Any]


def messages() -> list[tuple[str, Schema]]:
    """Return the wire type and the schema of every event and row, in the order of the contract."""
    return [(model.wire_type(), json_schema(model)) for model, _ in MESSAGES]


def parts() -> dict[str, Schema]:
    """Return what the schemas share, by name and sorted.

    Raises:
        ValueError: two schemas mean different things by one name.
    """
    found: dict[str, Schema] = {}
    for _, schema in messages():
        for name, part in schema.get("$defs", {}).items():
            if found.setdefault(name, part) != part:
                message = f"{name} is not the same in all schemas: give one of them another name"
                raise ValueError(message)
    return dict(sorted(found.items()))


def fields(schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Yield name, schema and whether it is required, of each field."""
    for name, part in schema["properties"].items():
        yield name, part, name in schema.get("required", ())


def about(schema: Schema) -> str:
    """Return the description on one line."""
    return " ".join(schema.get("description", "").split())

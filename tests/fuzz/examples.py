"""The golden examples as a place to start from: each a structured CloudEvent."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from schemas import EVENT_TYPES, TOPIC_OF
from schemas.registry import Topic

_FOLDER: Final = Path(__file__).parents[2] / "schemas" / "examples"


@cache
def example(wire_type: str) -> dict[str, Any]:
    """Return the example of an event as a structured CloudEvent."""
    model = EVENT_TYPES[wire_type]
    path = _FOLDER / model.__name__ / f"v{model.schema_version}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@cache
def types_on(topic: Topic) -> tuple[str, ...]:
    """Return the wire types of the events that belong on `topic`."""
    return tuple(name for name in EVENT_TYPES if TOPIC_OF[name] is topic)

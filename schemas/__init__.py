"""The published language: every event and its topic. Start reading at `EVENTS`, in `contents`.

The names of `contents` are here too, and are loaded when one is asked for: building all models
takes longer than most commands of the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.contents import (
        BILLING,
        EVENT_TYPES,
        EVENTS,
        MESSAGES,
        ROWS,
        TERMINAL_EVENTS,
        TOPIC_OF,
    )

__all__ = ["BILLING", "EVENTS", "EVENT_TYPES", "MESSAGES", "ROWS", "TERMINAL_EVENTS", "TOPIC_OF"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of several types
    if name not in __all__:
        message = f"module {__name__} has no {name}"
        raise AttributeError(message)
    found = getattr(import_module("schemas.contents"), name)
    globals()[name] = found
    return found

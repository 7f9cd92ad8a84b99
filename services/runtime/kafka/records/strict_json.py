"""JSON as the contract has it. The standard library also takes a key twice, NaN and UTF-16."""

from __future__ import annotations

import json
from typing import Any, Final

from services.runtime.errors import Poison

_SHOWN_MAX: Final = 5
Path = tuple[int | str, ...]
_Place = tuple[Any, int | str]
"""The place of what is around it (or None) and its name there: depth costs nothing to go on."""


def read_json(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of UTF-8 `text`.

    Raises:
        Poison: an object names a key twice; two readers would take two values from it.
        ValueError, RecursionError: it is not JSON.
    """
    return _DECODER.decode(text.decode())


def nulls(value: Any) -> list[Path]:  # noqa: ANN401 - any JSON value
    """Return where the first few nulls stand."""
    found: list[Path] = []
    open_parts: list[tuple[Any, _Place | None]] = [(value, None)]
    while open_parts and len(found) < _SHOWN_MAX:
        part, place = open_parts.pop()
        if part is None:
            found.append(_path(place))
        elif isinstance(part, dict):
            inside = reversed(part.items())
            open_parts += [(each, (place, name)) for name, each in inside if _may_hold_null(each)]
        elif isinstance(part, list):
            inside = zip(range(len(part) - 1, -1, -1), reversed(part), strict=True)
            open_parts += [(each, (place, at)) for at, each in inside if _may_hold_null(each)]
    return found


def _may_hold_null(value: object) -> bool:
    return value is None or isinstance(value, dict | list)


def _path(place: _Place | None) -> Path:
    """Return the names from the outermost to the innermost."""
    names: list[int | str] = []
    while place is not None:
        place, name = place
        names.append(name)
    return tuple(reversed(names))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Poison("key_repeated", "an object of the JSON names a key twice: name it once")
    return values


def _refuse(constant: str) -> None:
    message = f"{constant} is not JSON"
    raise ValueError(message)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
"""Made once: to make it takes as long as to read a small request."""

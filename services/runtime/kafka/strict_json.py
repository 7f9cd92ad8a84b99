"""JSON as the contract has it. The standard library also takes a key twice, NaN and UTF-16."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from services.runtime.errors import Poison

_SHOWN_MAX: Final = 5
Path = tuple[int | str, ...]


def read_json(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of UTF-8 `text`.

    Raises:
        Poison: an object names a key twice; two readers would take two values from it.
        ValueError, RecursionError: it is not JSON.
    """
    return json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse)


def nulls(value: Any) -> list[Path]:  # noqa: ANN401 - any JSON value
    """Return where the first few nulls stand."""
    found = _nulls(value, ())
    return [path for path, _ in zip(found, range(_SHOWN_MAX), strict=False)]


def _nulls(value: object, path: Path) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _nulls(part, (*path, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _nulls(part, (*path, number))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Poison("key_repeated", "an object of the JSON names a key twice: name it once")
    return values


def _refuse(constant: str) -> None:
    message = f"{constant} is not JSON"
    raise ValueError(message)

"""YAML in block style from plain data, so that the contract needs no YAML library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z$/][A-Za-z0-9_$./-]*( [A-Za-z0-9_(][A-Za-z0-9_$.,/()-]*)*")
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def yaml_text(document: dict[str, Any]) -> str:
    """Write `document` (strings, integers, booleans, lists, mappings) as YAML 1.2."""
    return "\n".join(_mapping(document, "")) + "\n"


def _mapping(mapping: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        yield from _under(f"{indent}{_scalar(key)}:", value, indent)


def _sequence(items: list[Any], indent: str) -> Iterator[str]:
    for item in items:
        if not isinstance(item, dict | list) or not item:
            yield f"{indent}- {_scalar(item)}"
            continue
        nested = indent + "  "
        lines = _mapping(item, nested) if isinstance(item, dict) else _sequence(item, nested)
        yield f"{indent}- {next(lines)[len(nested) :]}"
        yield from lines


def _under(opening: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield opening
        yield from _mapping(value, indent + "  ")
    elif isinstance(value, list) and value:
        yield opening
        yield from _sequence(value, indent + "  ")
    else:
        yield f"{opening} {_scalar(value)}"


def _scalar(value: object) -> str:
    """Write strings bare when that is unambiguous; a JSON string is a YAML string anyway."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(value, ensure_ascii=False)

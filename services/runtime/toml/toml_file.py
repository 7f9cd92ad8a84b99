"""Reads a file of dated rules and refuses a broken one, naming file, line and reason of every fault."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from services.runtime.errors import ConfigurationError
from services.runtime.plain_words import problems_of

ModelT = TypeVar("ModelT", bound=BaseModel)
Place = tuple[str | int, ...]
"""Where a fault lies: (table, index, key, ...), as pydantic reports it."""
Fault = tuple[Place, str]

_DIGITS: Final = 16
_TABLE: Final = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]\]?")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")
_TOML_LINE: Final = re.compile(r"line (\d+)")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The text of a file and what it holds."""

    path: Path
    text: str
    content: dict[str, Any]

    def validated(self, model: type[ModelT]) -> ModelT:
        """Return the content as `model`.

        Raises:
            ConfigurationError: one `file:line: reason` for every fault.
        """
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            faults: list[Fault] = [(each["loc"], each["msg"]) for each in problems_of(error)]
            raise ConfigurationError(_report(self.path, self.text, faults)) from None

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Return when there are none.

        Raises:
            ConfigurationError: one `file:line: reason` for every fault.
        """
        if found := list(faults):
            raise ConfigurationError(_report(self.path, self.text, found))


def digests_of(files: Mapping[str, Path | None]) -> dict[str, str]:
    """Return by name the beginning of each file's SHA-256: it tells one content from another."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
        for name, path in files.items()
        if path is not None
    }


def read_toml(path: Path, what: str) -> TomlFile:
    """Read `path`, which is to be a catalogue, a routing, ....

    Raises:
        ConfigurationError: it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TomlFile(path, text, tomllib.loads(text))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}): set the {what} path to a TOML file"
        raise ConfigurationError(message) from None
    except UnicodeDecodeError:
        message = f"{path}: is not UTF-8: save the {what} as UTF-8"
        raise ConfigurationError(message) from None
    except RecursionError:
        message = f"{path}: is nested too deep for a {what}"
        raise ConfigurationError(message) from None
    except tomllib.TOMLDecodeError as error:
        message = f"{path}:{_toml_line(error, text)}: {error}"
        raise ConfigurationError(message) from None


def _report(path: Path, text: str, faults: Iterable[Fault]) -> str:
    lines = _line_index(text)
    located = sorted((_line_of(place, lines, text), place, reason) for place, reason in faults)
    return "\n".join(
        f"{path}:{line}: {'.'.join(str(part) for part in place)}: {reason}"
        for line, place, reason in located
    )


def _line_index(text: str) -> dict[Place, int]:
    """Return the line of every table header, and of every key below it.

    A table of an array is (name, index), another one (name,).
    """
    index: dict[Place, int] = {}
    counts: dict[str, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            brackets, name = header.groups()
            number_of_table = counts.get(name, 0)
            table = (name, number_of_table) if brackets == "[[" else (name,)
            counts[name] = number_of_table + 1
            index[table] = number
        elif key := _KEY.match(line):
            index.setdefault((*table, key.group(1)), number)
    return index


def _line_of(place: Place, lines: dict[Place, int], text: str) -> int:
    """Return the line of the deepest known part of `place`; of a list's item, its own line."""
    for depth in range(len(place), 0, -1):
        line = lines.get(place[:depth])
        if line is None:
            continue
        rest = place[depth:]
        if rest and isinstance(rest[0], int):
            return _item_line(text, line, rest[0])
        return line
    return 1


def _item_line(text: str, key_line: int, item: int) -> int:
    """Return the line of a list's item that is a table; of any other item, that of the key."""
    seen = -1
    for number, line in enumerate(text.splitlines()[key_line - 1 :], start=key_line):
        seen += line.count("{")
        if seen >= item:
            return number
        if line.rstrip().endswith("]"):
            break
    return key_line


def _toml_line(error: tomllib.TOMLDecodeError, text: str) -> int:
    found = _TOML_LINE.search(str(error))
    return int(found.group(1)) if found else max(1, len(text.splitlines()))

"""UpstreamRequest files, JSON Lines and CSV: from bytes to numbered rows, and to checked requests."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.envelope import Event
from services.runtime.errors import Poison
from services.runtime.kafka.records.strict_json import read_json
from services.upstream.requests import (
    REQUEST_TYPES,
    InvalidRow,
    Problem,
    UpstreamRequest,
    checked_request,
)

_ATTRIBUTE_COLUMNS: Final = frozenset({"type", "id", "time", "source", "traceparent"})
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_NOT_JSON: Final = "is not JSON: write one object per line, without a comma between lines"
_NOT_UTF8: Final = "is not UTF-8: save the file as UTF-8"
_WRONG_QUOTE: Final = "has a quote in the wrong place: double it, and quote the whole cell"
_CELL_LONG: Final = f"has a cell of more than {csv.field_size_limit()} characters: close its quote"
_OTHER_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NUL: Final = "\0"


@dataclass(slots=True)
class CheckedFile:
    """Every row of a file: those that can be published, and what is wrong with the others."""

    requests: list[UpstreamRequest] = field(default_factory=list)
    problems: dict[int, tuple[Problem, ...]] = field(default_factory=dict)


def read_file(path: Path, *, source: str | None, event_type: str | None) -> CheckedFile:
    """Check every row of `path`; `.csv` files are CSV, all others JSON Lines.

    Raises:
        OSError: the file cannot be read.
    """
    rows = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    checked = CheckedFile()
    first_lines: dict[tuple[str, UUID], int] = {}
    for line, row in rows(path.read_bytes(), event_type):
        try:
            request = _request(line, row, source)
            _refuse_repeated(request, first_lines)
        except InvalidRow as invalid:
            checked.problems[line] = invalid.problems
        except Exception as error:  # noqa: BLE001 - a file may hold anything, and one row is one row
            told = (
                f"cannot be checked ({type(error).__name__}): leave it out, and report the defect"
            )
            checked.problems[line] = (Problem("", told),)
        else:
            checked.requests.append(request)
    return checked


def _request(line: int, row: object, source: str | None) -> UpstreamRequest:
    if isinstance(row, InvalidRow):
        raise row
    return checked_request(line, row, source=source)


def _refuse_repeated(request: UpstreamRequest, first_lines: dict[tuple[str, UUID], int]) -> None:
    identity = (request.envelope.source, request.envelope.id)
    first = first_lines.setdefault(identity, request.line)
    if first != request.line:
        raise InvalidRow(Problem("id", f"was used on line {first}: an id names one event"))


def _json_rows(text: bytes, event_type: str | None) -> Iterator[tuple[int, object]]:
    for line, raw in enumerate(text.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            row = read_json(raw)
        except UnicodeDecodeError:
            yield line, InvalidRow(Problem("", _NOT_UTF8))
        except Poison as twice:
            yield line, InvalidRow(Problem("", str(twice)))
        except (ValueError, RecursionError):
            yield line, InvalidRow(Problem("", _NOT_UTF8 if _NUL.encode() in raw else _NOT_JSON))
        else:
            if isinstance(row, dict) and event_type is not None:
                row.setdefault("type", event_type)
            yield line, row


def _csv_rows(text: bytes, event_type: str | None) -> Iterator[tuple[int, object]]:
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield 1, InvalidRow(Problem("", _NOT_UTF8))
        return
    if not decoded.strip():
        return
    reader = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        yield 1, _unreadable(error)
        return
    wrong = _wrong_columns(header, event_type)
    if wrong:
        yield 1, InvalidRow(*wrong)
        return
    yield from _csv_cells(reader, header, event_type)


def _csv_cells(
    reader: Any,  # noqa: ANN401 - the csv module's reader has no public type
    header: list[str],
    event_type: str | None,
) -> Iterator[tuple[int, object]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield line, _unreadable(error)
            return
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) != len(header):
            told = f"has {len(cells)} cells, but the header has {len(header)} columns"
            yield line, InvalidRow(Problem("", told))
            continue
        filled = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
        yield line, _row(filled, event_type)


def _unreadable(error: csv.Error) -> InvalidRow:
    return InvalidRow(Problem("", _CELL_LONG if "field limit" in str(error) else _WRONG_QUOTE))


def _wrong_columns(header: list[str], event_type: str | None) -> list[Problem]:
    if _NUL in "".join(header):
        return [Problem("", _NOT_UTF8)]
    for separator, name in _OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return [Problem("", f"has {name} between its cells: separate them by commas")]
    if "type" not in header and event_type is None:
        return [Problem("type", "is not a column: add it, or pass --type")]
    known = {path for model in REQUEST_TYPES.values() for path in _types(model)}
    problems = [
        Problem(name, "is not a column of any request: see the fields in docs/EVENTS.md")
        for name in header
        if name not in known | _ATTRIBUTE_COLUMNS
    ]
    repeated = {name for name in header if header.count(name) > 1}
    return problems + [Problem(name, "is a column twice") for name in sorted(repeated)]


def _row(cells: dict[str, str], event_type: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {name: cells[name] for name in cells.keys() & _ATTRIBUTE_COLUMNS}
    row.setdefault("type", event_type)
    names = {model.__name__: model for model in REQUEST_TYPES.values()} | REQUEST_TYPES
    model = names.get(row["type"])
    types = _types(model) if model else {}
    data: dict[str, Any] = {}
    for path, cell in cells.items():
        if path not in _ATTRIBUTE_COLUMNS:
            *parents, name = path.split(".")
            holder = data
            for parent in parents:
                holder = holder.setdefault(parent, {})
            holder[name] = _value(cell, types.get(path, "string"))
    return row | {"data": data}


def _value(cell: str, kind: str) -> Any:  # noqa: ANN401 - any JSON value
    """Convert by the field's type; a cell that does not fit stays text and fails validation."""
    if kind == "integer" and _INTEGER.fullmatch(cell):
        return int(cell)
    if kind == "array":
        return [part.strip() for part in cell.split(";")]
    return cell


@cache
def _types(model: type[Event]) -> dict[str, str]:
    """Return the JSON type of every leaf by its dotted path: deriving it takes milliseconds."""
    schema = model.model_json_schema()
    return dict(_leaves(schema, schema.get("$defs", {}), ""))


def _leaves(
    schema: dict[str, Any], parts: dict[str, Any], prefix: str
) -> Iterator[tuple[str, str]]:
    for name, field_schema in schema["properties"].items():
        for one in field_schema.get("anyOf", [field_schema]):
            part = parts[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
            if "properties" in part:
                yield from _leaves(part, parts, f"{prefix}{name}.")
            elif part["type"] != "null":
                yield f"{prefix}{name}", part["type"]

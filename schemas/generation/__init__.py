"""What is generated from the contract: JSON Schemas, types, the AsyncAPI document, event tables.

`python -m schemas` writes the files; nothing at run time imports this package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from schemas import MESSAGES
from schemas.generation.asyncapi import asyncapi_document
from schemas.generation.event_table import with_event_tables
from schemas.generation.golang import GO_MODULE, go_file
from schemas.generation.json_schema import json_schema
from schemas.generation.typescript import typescript_file
from schemas.generation.yaml_text import yaml_text

ROOT: Final = Path(__file__).parents[2]
JSON_SCHEMAS: Final = ROOT / "schemas" / "json"
ASYNCAPI: Final = ROOT / "schemas" / "asyncapi.yaml"
TYPESCRIPT: Final = ROOT / "schemas" / "typescript" / "events.ts"
GO: Final = ROOT / "schemas" / "go" / "events.go"
EVENT_PAGES: Final = (ROOT / "docs" / "EVENTS.md", ROOT / "README.md")


def generated_files() -> dict[Path, str]:
    """Return every generated file with the text that the contract of this moment gives it."""
    files = {
        JSON_SCHEMAS / f"{model.__name__}.v{model.schema_version}.json": json.dumps(
            json_schema(model), indent=2, ensure_ascii=False
        )
        + "\n"
        for model, _ in MESSAGES
    }
    files[ASYNCAPI] = yaml_text(asyncapi_document())
    files |= {TYPESCRIPT: typescript_file(), GO: go_file(), GO.with_name("go.mod"): GO_MODULE}
    pages = {page: with_event_tables(page.read_text(encoding="utf-8")) for page in EVENT_PAGES}
    return files | pages


def stale_files() -> list[Path]:
    """Return the files that are missing, out of date, or generated for an event that is gone."""
    wanted = generated_files()
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    return stale + [path for path in sorted(JSON_SCHEMAS.glob("*.json")) if path not in wanted]


def write_files() -> list[Path]:
    """Bring every generated file up to date and return those that changed."""
    wanted = generated_files()
    stale = stale_files()
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return stale

"""The generated types of TypeScript and Go compile, and hold every example with nothing left over."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.generation import GO, TYPESCRIPT
from schemas.generation.asyncapi import EXAMPLES
from tests.clients import toolchains

MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
pytestmark = pytest.mark.timeout(300)  # the first time, Go compiles its own library
PROGRAM: Final = """\
package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"

	events "perennial.example/events"
)

func main() {
	var given []struct {
		Type string
		Data json.RawMessage
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		log.Fatal(err)
	}
	for _, event := range given {
		data := events.New[event.Type]()
		reader := json.NewDecoder(strings.NewReader(string(event.Data)))
		reader.DisallowUnknownFields()
		if err := reader.Decode(data); err != nil {
			log.Fatal(event.Type, ": ", err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(data); err != nil {
			log.Fatal(err)
		}
	}
}
"""


def examples() -> list[dict[str, Any]]:
    found = sorted(EXAMPLES.glob("*/v*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def moments_read(value: Any) -> Any:
    """Return JSON with its moments as such: zeros behind the point mean nothing."""
    match value:
        case dict():
            return {name: moments_read(one) for name, one in value.items()}
        case list():
            return [moments_read(one) for one in value]
        case str() if MOMENT.fullmatch(value):
            return datetime.fromisoformat(value)
        case _:
            return value


def compile_typescript(folder: Path, events: list[dict[str, Any]]) -> str:
    """Return what the strict compiler says against data written as literals of their types."""
    (folder / "events.ts").write_bytes(TYPESCRIPT.read_bytes())
    lines = ['import type { EventData } from "./events";']
    for number, event in enumerate(events):
        literal = json.dumps(event["data"], ensure_ascii=False)
        lines.append(f'export const e{number}: EventData["{event["type"]}"] = {literal};')
    (folder / "examples.ts").write_text("\n".join(lines), encoding="utf-8")
    compiler = toolchains.node_packages() / "node_modules" / "typescript" / "lib" / "tsc.js"
    flags = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022"]
    done = subprocess.run(
        [toolchains.NODE, compiler, *flags, "examples.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def test_typescript_holds_every_example(tmp_path: Path) -> None:
    assert compile_typescript(tmp_path, examples()) == ""


def test_typescript_refuses_what_the_schemas_refuse(tmp_path: Path) -> None:
    event = next(each for each in examples() if each["type"] == "billing.PaymentCaptured.v1")
    lacking = {name: value for name, value in event["data"].items() if name != "payment_id"}
    wrong = [
        lacking,
        event["data"] | {"colour": "red"},
        event["data"] | {"method": "cheque"},
        event["data"] | {"amount": {"amount_minor": "100", "currency": "USD"}},
    ]

    said = compile_typescript(tmp_path, [event | {"data": data} for data in wrong])

    assert re.findall(r"^examples\.ts\((\d+),", said, re.MULTILINE) == ["2", "3", "4", "5"]


@pytest.fixture(scope="module")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the generated package and a program that reads events with it."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text(
        "module perennial.example/check\n\ngo 1.26.0\n\nrequire perennial.example/events v0.0.0\n\n"
        f"replace perennial.example/events => {GO.parent}\n"
    )
    (folder / "main.go").write_text(PROGRAM)
    toolchains.go("vet", ".", cwd=GO.parent)
    toolchains.go("build", "-o", "check", ".", cwd=folder)
    return folder / "check"


def decode_with_go(program: Path, events: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program],
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_go_reads_every_example_and_writes_the_same_again(go_program: Path) -> None:
    done = decode_with_go(go_program, examples())

    assert done.returncode == 0, done.stderr
    written = [moments_read(json.loads(line)) for line in done.stdout.splitlines()]
    assert written == [moments_read(each["data"]) for each in examples()]


def test_go_has_no_field_for_what_the_schema_does_not_know(go_program: Path) -> None:
    event = examples()[0]

    done = decode_with_go(go_program, [event | {"data": event["data"] | {"colour": "red"}}])

    assert done.returncode != 0
    assert "colour" in done.stderr

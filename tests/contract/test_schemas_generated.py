"""The committed files that are generated from the contract are what the code generates."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from schemas import MESSAGES
from schemas.generation import ASYNCAPI, ROOT, generated_files, stale_files
from schemas.generation.asyncapi import EXAMPLES, asyncapi_document
from schemas.generation.yaml_text import yaml_text


def check(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "schemas", *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "schemas", tmp_path / "schemas", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def test_generated_files_are_up_to_date() -> None:
    assert not stale_files(), "run `make schemas`"


def test_every_event_has_an_example_and_a_schema_and_nothing_else_has() -> None:
    names = {f"{model.__name__}.v{model.schema_version}" for model, _ in MESSAGES}
    examples = {f"{path.parent.name}.{path.stem}" for path in EXAMPLES.glob("*/v*.json")}
    schemas = {path.stem for path in (ROOT / "schemas" / "json").glob("*.json")}

    assert names <= examples
    assert names == schemas


def test_check_passes_on_a_copy_of_this_checkout(checkout: Path) -> None:
    assert check(checkout, "--check").returncode == 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("schemas/json/PaymentCaptured.v1.json", "captured_at"),
        ("schemas/asyncapi.yaml", "captured_at"),
        ("docs/EVENTS.md", "captured_at"),
        ("README.md", "Money (or wallet credit) is ours"),
    ],
)
def test_check_names_the_file_that_differs_and_generating_mends_it(
    checkout: Path, path: str, words: str
) -> None:
    file = checkout / path
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(words, "something else"), encoding="utf-8")

    found = check(checkout, "--check")

    assert found.returncode == 1
    assert f"out of date: {path}" in found.stderr
    assert "python -m schemas" in found.stderr
    assert check(checkout).returncode == 0
    assert file.read_text(encoding="utf-8") == text


def test_check_names_the_schema_of_an_event_that_is_gone(checkout: Path) -> None:
    (checkout / "schemas/json/MoneyVanished.v1.json").write_text("{}", encoding="utf-8")

    assert "MoneyVanished.v1.json" in check(checkout, "--check").stderr


def test_generating_twice_changes_nothing() -> None:
    assert generated_files() == generated_files()


def test_yaml_is_read_back_as_the_document_it_was_written_from() -> None:
    assert yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8")) == asyncapi_document()


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "null",
        "1.0",
        "2026-11-20",
        "- a",
        "a: b",
        "a #b",
        "#",
        "",
        " x",
        "~",
        "中文",
        "a\nb",
    ],
)
def test_yaml_keeps_a_string_a_string(text: str) -> None:
    document = {text: [text, {text: text}], "list": [[1, [text]], [], {}]}

    assert yaml.safe_load(yaml_text(document)) == document

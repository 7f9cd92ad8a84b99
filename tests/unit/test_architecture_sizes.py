"""Files, functions and folders are small enough to be read."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest

from tests.unit.test_architecture import ROOT, shown, sources, tree_of

FUNCTION_LINES_MAX: Final = 40
LINES_MAX: Final = 300
"""Without the empty ones."""
FILES_MAX: Final = 15
"""Of a folder, beside its subfolders."""
WIDTH_MAX: Final = 120
"""Of a line of prose; a table's row is one line, and so is a link."""
UNWRAPPED: Final = ("|", "<!--", "#")
BLOCKS: Final = re.compile(r"^ *```.*?^ *```|<!-- generated.*?<!-- end", re.MULTILINE | re.DOTALL)
VAGUE_NAMES: Final = frozenset(
    f"{name}.py"
    for name in ["utils", "helpers", "common", "base", "manager", "service", "models", "misc"]
)


def test_file_says_its_business_in_300_lines_and_in_its_name() -> None:
    paths = sources("schemas", "services", "deploy", "tests")
    lines = {
        shown(path): len(re.findall(r"^.*\S", path.read_text("utf-8"), re.MULTILINE))
        for path in paths
    }
    assert {path: count for path, count in lines.items() if count > LINES_MAX} == {}
    assert [shown(path) for path in paths if path.name in VAGUE_NAMES] == []


def test_function_is_read_without_scrolling() -> None:
    long = {
        f"{shown(path)}: {node.name}": node.end_lineno - node.lineno + 1
        for path in sources("schemas", "services", "deploy")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("package", ["services", "deploy", "tests"])
def test_folder_is_read_at_a_glance(package: str) -> None:
    folders = {path.parent for path in sources(package)}
    files = {
        shown(each): len([path for path in each.iterdir() if path.is_file()]) for each in folders
    }
    assert {folder: count for folder, count in files.items() if count > FILES_MAX} == {}


def test_pages_are_as_wide_as_each_other() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    assert len(pages) > FILES_MAX
    wide = {
        f"{page.name}: {line[:60]}"
        for page in pages
        for line in BLOCKS.sub("", page.read_text(encoding="utf-8")).splitlines()
        if len(line) > WIDTH_MAX and " " in line.strip(" -") and not line.startswith(UNWRAPPED)
    }
    assert wide == set()

"""The pages lead where they say: files and headings exist, and so do the commands they show."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.core import TyperGroup

from services.cli.app import Commands

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PERENNIAL: Final = re.compile(r"(?<![\w/-])(?:\.venv/bin/)?perennial ((?:[a-z][a-z-]*|\|)[^`#\n]*)")
MAKE: Final = re.compile(r"(?<![\w-])make (?:PYTHON=\S+ )?([a-z]+)\b")
MODULE: Final = re.compile(r"python -m ((?:services|deploy|schemas|tests)[\w.]*)")
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def named(page: Path) -> str:
    """Return the name of a page for a test's id."""
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """Return where a page links to, other sites left out."""
    prose = _CODE.sub("`", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in _LINK.findall(prose) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors that headings have on GitHub."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.strip().replace(" ", "-") for each in words}


def code(page: Path) -> str:
    """Return what a page shows as code, a line each."""
    text = page.read_text(encoding="utf-8")
    spans = (span.strip("`") for span in _CODE.findall(_FENCE.sub("", text)))
    return "\n".join([*_FENCE.findall(text), *spans])


def broken(page: Path, target: str) -> str | None:
    """Say what is wrong with a link, or None."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return f"{target}: no such file"
    if anchor and anchor not in anchors(file):
        return f"{target}: no such heading"
    return None


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command that `a b|c` stands for, options and arguments left out."""
    words = []
    for word in line.split():
        if not re.fullmatch(r"[a-z]+(?:-[a-z]+)*(?:\|[a-z-]+)*", word):
            break
        words.append(word)
    for last in words[-1].split("|") if words else ():
        yield [*words[:-1], last]


def unknown_command(words: list[str]) -> str | None:
    """Say which word is no command of `perennial`, or None."""
    command: Any = Commands(commands=Commands.load_all())
    for word in words:
        if not isinstance(command, TyperGroup):
            return None
        found = command.commands.get(word)
        if found is None:
            return f"perennial {' '.join(words)}: no command {word}"
        command = found
    return None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert [why for target in links(page) if (why := broken(page, target))] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_command_of_perennial_exists(page: Path) -> None:
    shown = [words for line in PERENNIAL.findall(code(page)) for words in commands(line)]
    assert [why for words in shown if (why := unknown_command(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_option_of_perennial_exists(page: Path) -> None:
    options = {"--help"} | {
        option
        for command in every_command(Commands(commands=Commands.load_all()))
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {o for line in PERENNIAL.findall(code(page)) for o in re.findall(r"--[a-z-]+", line)}
    assert used <= options


def every_command(command: Any) -> Iterator[Any]:
    """Yield a command and those below it."""
    yield command
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            yield from every_command(each)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(MAKE.findall(code(page))) <= targets


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_module_to_run_exists(page: Path) -> None:
    paths = [ROOT / name.replace(".", "/") for name in MODULE.findall(code(page))]
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in paths
        if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file()
    ]
    assert missing == []


def test_readme_shows_the_commands_that_matter() -> None:
    readme = ROOT / "README.md"
    shown = [
        " ".join(words) for line in PERENNIAL.findall(code(readme)) for words in commands(line)
    ]
    assert {"make demo", "make test"} <= set(re.findall(r"make [a-z]+", code(readme)))
    assert {"orders show", "ledger replay", "ledger verify", "dlq redrive"} <= {
        " ".join(each.split()[:2]) for each in shown
    }


def test_readme_is_short_and_leads_to_every_page() -> None:
    readme = ROOT / "README.md"
    led_to = {(ROOT / target.partition("#")[0]).resolve() for target in links(readme)}
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 200
    assert set(PAGES) - led_to == {readme}


def test_changelog_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_halt_is_explained_to_operators_and_nothing_else_is() -> None:
    page = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    section = page.split("\n## Halts\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    explained = [span.strip("`") for cell in cells for span in _CODE.findall(cell)]
    halts = [
        text
        for path in sorted((ROOT / "services").rglob("*.py"))
        for text in halts_of(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert [text for text in halts if not any(opens(row, text) for row in explained)] == []
    assert [row for row in explained if not any(opens(row, text) for text in halts)] == []


def test_every_line_of_the_log_is_explained_to_operators() -> None:
    page = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    sources = "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "services").rglob("*.py"))
    )
    logged = set(re.findall(r"logger\.(?:info|warning|error)\(\s*\"(\w+)\"", sources))
    assert len(logged) > 10
    assert {name for name in logged if f"`{name}`" not in page} == set()


def opens(row: str, text: str) -> bool:
    """Say whether a message begins as a row says, whatever stands for the dots."""
    pattern = ".*".join(re.escape(part) for part in row.split("..."))
    return re.match(pattern, text) is not None


def halts_of(tree: ast.AST) -> Iterator[str]:
    """Yield the messages of the halts of a module, with dots for what is filled in."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        said: dict[str, str] = {}
        for node in in_order(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                said[node.targets[0].id] = text_of(node.value, said)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Halt":
                yield text_of(node.args[0], said)


def in_order(function: ast.AST) -> list[ast.Call | ast.Assign]:
    """Return the calls and assignments of a function as they stand in it."""
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Call | ast.Assign)]
    return sorted(nodes, key=lambda node: node.lineno)


def text_of(node: ast.AST, said: dict[str, str]) -> str:
    """Return a string as written, with dots for what is not known."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name) | ast.FormattedValue(value=ast.Name(id=name)):
            return said.get(name, "...")
        case ast.JoinedStr(values=values):
            return "".join(text_of(value, said) for value in values)
        case _:
            return "..."


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("docs/EVENTS.md#topics", None),
        ("#tests", None),
        ("docs/NOWHERE.md", "docs/NOWHERE.md: no such file"),
        ("../outside.md", "../outside.md: no such file"),
        ("docs/EVENTS.md#nothing", "docs/EVENTS.md#nothing: no such heading"),
    ],
)
def test_broken_link_is_found(target: str, why: str | None) -> None:
    assert broken(ROOT / "README.md", target) == why


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ledger replay --known-at X", []),
        ("dlq list|show", []),
        ("orders show rnw-example-1", []),
        ("ledger replai", ["perennial ledger replai: no command replai"]),
        ("dlq list|throw", ["perennial dlq throw: no command throw"]),
    ],
)
def test_wrong_command_is_found(line: str, found: list[str]) -> None:
    assert [why for words in commands(line) if (why := unknown_command(words))] == found

"""Which files a file imports, directly or through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


class Imports:
    """The imports of the files below `root`, as they are written there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @cache  # noqa: B019 - one for the whole run
    def of(self, path: str) -> frozenset[str]:
        """All files that run when `path` is imported, itself and what pytest adds among them."""
        above = [str(folder / "conftest.py") for folder in Path(path).parents]
        waiting, found = [path, *above], set[str]()
        while waiting:
            if (file := waiting.pop()) not in found and (self._root / file).is_file():
                found.add(file)
                waiting.extend(self._direct(file))
        return frozenset(found)

    @cache  # noqa: B019 - as above
    def _direct(self, path: str) -> list[str]:
        tree = ast.parse((self._root / path).read_text("utf-8"))
        return [file for node in ast.walk(tree) for name in _named(node) for file in _files(name)]


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[str]:
    """The files that the import of a name may run: a module and the packages around it."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        place = "/".join(parts[:length])
        yield from (f"{place}.py", f"{place}/__init__.py")

"""Which bugs there are, and what a file looks like with one of them in it.

mutmut knows the small changes; here each of them becomes the text of a whole file, so that what is
decorated and what runs at import can have a bug too.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import (
    NEVER_MUTATE_FUNCTION_NAMES,
    Mutation,
    MutationVisitor,
)
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

_SQL: Final = re.compile(r"\b(SELECT|FROM|WHERE|JOIN|AND|OR|ORDER BY|GROUP BY|FILTER|VALUES)\b")


@dataclass(frozen=True)
class Mutant:
    """One bug in one file; `path` is relative to the root."""

    path: str
    number: int
    module: cst.Module
    mutation: Mutation

    @cached_property
    def original(self) -> str:
        """The file without the bug."""
        return self.module.code

    @cached_property
    def source(self) -> str:
        """The file with the bug."""
        changed = self.module.deep_replace(self.mutation.original_node, self.mutation.mutated_node)
        assert isinstance(changed, cst.Module)
        return changed.code

    @cached_property
    def changed(self) -> range:
        """The lines that differ, numbered as in the file without the bug, from 1."""
        before, after = self.original.splitlines(), self.source.splitlines()
        same = difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes()
        found = [(start, end) for tag, start, end, _, _ in same if tag != "equal"]
        return range(found[0][0] + 1, max(found[-1][1], found[0][0] + 1) + 1)

    @cached_property
    def lines(self) -> range:
        """The lines of the statement with the bug: who runs none of them cannot notice it."""
        first, last = self.changed[0], self.changed[-1]
        around = [
            node
            for node in ast.walk(ast.parse(self.original))
            if isinstance(node, ast.stmt) and first in range(node.lineno, _end_of(node))
        ]
        inner = max(around, key=lambda node: node.lineno)
        body = getattr(inner, "body", None)
        end = body[0].lineno if body else _end_of(inner)
        return range(inner.lineno, max(end, last + 1))

    def diff(self) -> str:
        """What the bug is, with the file and the line."""
        changed = difflib.unified_diff(
            self.original.splitlines(), self.source.splitlines(), n=1, lineterm=""
        )
        return "\n".join([f"{self.path}:{self.changed[0]}", *list(changed)[3:]])


class _Everything(MutationVisitor):
    """mutmut leaves decorated functions alone, since it would copy them; a whole file need not."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.decorators:
            return node.name.value in NEVER_MUTATE_FUNCTION_NAMES
        return super()._skip_node_and_children(node)


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All bugs for one file, in the order of the file."""
    visitor = _Everything(mutation_operators, IgnoredCode(set(), set(), set()))
    module = MetadataWrapper(cst.parse_module(source)).visit(visitor)
    return [
        Mutant(path, number, module, mutation)
        for number, mutation in enumerate(visitor.mutations)
        if not _is_the_same_sql(mutation)
    ]


def _is_the_same_sql(mutation: Mutation) -> bool:
    """Say whether only the case of SQL's own words and names differs, which it does not tell apart."""
    nothing = cst.Module([])
    before = nothing.code_for_node(mutation.original_node)
    after = nothing.code_for_node(mutation.mutated_node)
    return _SQL.search(before) is not None and _folded(before) == _folded(after)


def _folded(sql: str) -> list[str]:
    """Return the text in small letters, but for what stands between quotes of its own."""
    return [
        part if number % 2 else part.lower() for number, part in enumerate(sql[1:-1].split("'"))
    ]


def mutants_in(root: Path, patterns: Sequence[str]) -> list[Mutant]:
    """All bugs for the files that match one of `patterns` below `root`."""
    paths = sorted({path for pattern in patterns for path in root.glob(pattern)})
    return [
        mutant
        for path in paths
        for mutant in mutants_of(str(path.relative_to(root)), path.read_text("utf-8"))
    ]


def sample_of(mutants: Sequence[Mutant], size: int | None, seed: int) -> Sequence[Mutant]:
    """`size` of them, each as likely as any other; the same for the same seed; all of them for None."""
    if size is None or size >= len(mutants):
        return mutants
    return random.Random(seed).sample(mutants, size)


def _end_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) + 1

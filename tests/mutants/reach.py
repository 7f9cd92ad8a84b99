"""The unit tests without any bug: they pass, how long each takes, and which lines each reaches."""

from __future__ import annotations

import functools
import gc
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from coverage import Coverage

from tests.mutants.imports import Imports
from tests.mutants.planting import Mutant

_CACHED: Final = type(functools.cache(len))
AT_IMPORT: Final = ""
"""Stands for a test where a line ran before any test did."""


@dataclass(frozen=True)
class Reach:
    """What a run without bugs showed; times in seconds, paths as in a mutant."""

    collecting: float
    seconds: Mapping[str, float]
    tests: Mapping[str, Mapping[int, Sequence[str]]]
    """By file and line."""
    foreign: Sequence[str]
    """The modules that are not ours, in the order in which they were imported."""
    imports: Imports

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests that can notice it, short ones first: those that run the statement.

        What a statement makes at import can be noticed by all whose file imports it in the end.
        """
        lines = self.tests[mutant.path]
        reached = self._by(lines, mutant.lines)
        of_file = self._by(lines, lines) if AT_IMPORT in reached else reached
        every = self._importing(mutant.path) if AT_IMPORT in reached else reached

        def rank(test: str) -> tuple[bool, bool, float, str]:
            return test not in reached, test not in of_file, self.seconds[test], test

        return sorted(every - {AT_IMPORT}, key=rank)

    def _importing(self, path: str) -> set[str]:
        return {t for t in self.seconds if path in self.imports.of(t.partition("::")[0])}

    @staticmethod
    def _by(lines: Mapping[int, Sequence[str]], wanted: Iterable[int]) -> set[str]:
        return {test for line in wanted for test in lines.get(line, ())}


class Watching:
    """A plugin for the run without bugs."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self._root = root
        self._paths = paths
        self._coverage = Coverage(
            data_file=None, include=[str(root / path) for path in paths], messages=False
        )
        self._started = time.monotonic()
        self._collecting = 0.0
        self._seconds: dict[str, float] = {}
        self._caches: list[Callable[[], None]] = []
        self._coverage.start()

    def pytest_collection_finish(self) -> None:
        """Remember what remembers: else only the first test would reach what is behind it."""
        self._collecting = time.monotonic() - self._started
        self._caches = [
            found.cache_clear
            for found in gc.get_objects()
            if isinstance(found, _CACHED) and self._is_ours(found)
        ]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Give what runs now to the test."""
        for forget in self._caches:
            forget()
        self._coverage.switch_context(item.nodeid)
        started = time.monotonic()
        result = yield
        self._seconds[item.nodeid] = time.monotonic() - started
        return result

    def seen(self) -> Reach:
        """All that was seen."""
        self._coverage.stop()
        data = self._coverage.get_data()
        names: dict[str, str] = {}
        tests = {
            path: {
                line: [names.setdefault(test, test) for test in found]
                for line, found in data.contexts_by_lineno(str(self._root / path)).items()
            }
            for path in self._paths
        }
        foreign = [
            name
            for name, module in sys.modules.items()
            if not self._is_our_file(getattr(module, "__file__", None) or "")
        ]
        return Reach(self._collecting, self._seconds, tests, foreign, Imports(self._root))

    def _is_ours(self, cached: Any) -> bool:
        code = getattr(cached.__wrapped__, "__code__", None)
        return code is not None and self._is_our_file(code.co_filename)

    def _is_our_file(self, file: str) -> bool:
        return file.startswith(str(self._root)) and "site-packages" not in file

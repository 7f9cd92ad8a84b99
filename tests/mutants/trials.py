"""The unit tests with a bug in the code: each bug in a process of its own, which imports it anew."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import resource
import select
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any, Final, Literal

import hypothesis
import pytest

from tests.mutants.planting import Mutant
from tests.mutants.reach import Reach, Watching

TIMES_MORE: Final = 10
NEVER_IMPORTED: Final = 99
"""The exit status of a process whose tests pass without the changed file."""

Fate = Literal["killed", "timed out", "survived", "not reached"]


@dataclass(frozen=True)
class Verdict:
    """What became of a bug."""

    mutant: Mutant
    fate: Fate

    @property
    def killed(self) -> bool:
        """If the tests notice the bug."""
        return self.fate in ("killed", "timed out")


@dataclass(frozen=True)
class Limits:
    """What a process with a bug may use. Without a bug it must do with half of it.

    `memory_bytes` counts addresses; a test may take `seconds_more` and ten times as long as usual.
    """

    memory_bytes: int
    seconds_more: float


class BrokenTestsError(Exception):
    """Without a bug the tests fail or leave the limits, so nothing can be judged."""


@dataclass(frozen=True)
class _Outcome:
    status: int
    timed_out: bool
    test: str


class Court:
    """Judges bugs by the tests of `folders`. Made in a process that has imported nothing of the code."""

    def __init__(
        self, root: Path, paths: Sequence[str], folders: Sequence[str], limits: Limits, seed: int
    ) -> None:
        self._root = root
        self._limits = limits
        self._seed = seed
        self._sound: dict[str, bool] = {}
        hypothesis.settings.register_profile(
            "mutants",
            deadline=None,
            database=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        self.reach = self._watched(paths, folders)
        _import_all(self.reach.foreign)

    def judged(self, mutant: Mutant) -> Verdict:
        """Run the tests that can notice it until one fails.

        The one that fails must pass alone without the bug; else it is set aside for good.
        """
        while tests := [t for t in self.reach.tests_for(mutant) if self._sound.get(t, True)]:
            outcome = self._tried(tests, mutant)
            if outcome.status == NEVER_IMPORTED:
                message = f"{mutant.path} is not imported by the tests that reach it"
                raise BrokenTestsError(message)
            if outcome.status == 0:
                return Verdict(mutant, "survived")
            if self._is_sound(outcome.test):
                return Verdict(mutant, "timed out" if outcome.timed_out else "killed")
        return Verdict(mutant, "not reached")

    @property
    def set_aside(self) -> list[str]:
        """The tests that failed alone and without a bug."""
        return sorted(test for test, sound in self._sound.items() if not sound)

    def _is_sound(self, test: str) -> bool:
        """Whether it passes alone without a bug; so does an import, named by no test."""
        if test and test not in self._sound:
            self._sound[test] = self._tried([test], None).status == 0
        return self._sound.get(test, True)

    def _watched(self, paths: Sequence[str], folders: Sequence[str]) -> Reach:
        with TemporaryDirectory() as folder:
            result = Path(folder) / "reach"

            def watch() -> int:
                watching = Watching(self._root, paths)
                status = self._pytest(folders, watching)
                result.write_bytes(pickle.dumps(watching.seen()))
                return status

            child = _forked(watch, self._limits.memory_bytes // 2)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status != 0:
                message = f"without a bug the tests fail ({status}): run {' '.join(folders)} alone"
                raise BrokenTestsError(message)
            seen: Reach = pickle.loads(result.read_bytes())  # noqa: S301 - our own process wrote it
            return seen

    def _tried(self, tests: Sequence[str], mutant: Mutant | None) -> _Outcome:
        reading, writing = os.pipe()

        def attempt() -> int:
            os.close(reading)
            planted = _Planted(self._root, mutant)
            chosen = _Chosen(tests, self.reach.seconds, writing)
            files = sorted({test.partition("::")[0] for test in tests})
            status = self._pytest(files, chosen)
            return status if status or not mutant or planted.was_imported else NEVER_IMPORTED

        half = 1 if mutant else 2
        child = _forked(attempt, self._limits.memory_bytes // half)
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            timed_out, last = self._followed(pipe, half)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return _Outcome(status, timed_out, last)

    def _followed(self, pipe: Any, half: int) -> tuple[bool, str]:
        """If a test took too long, and the test that was running at the end."""
        last = ""
        while True:
            usual = self.reach.seconds.get(last, self.reach.collecting)
            limit = (self._limits.seconds_more + TIMES_MORE * usual) / half
            if not select.select([pipe], [], [], limit)[0]:
                return True, last
            if not (said := pipe.read(1 << 16)):
                return False, last
            last = said.decode().splitlines()[-1]

    def _pytest(self, places: Sequence[str], plugin: object) -> int:
        options = (
            "-x -q --tb=no --assert=plain -p no:cacheprovider "
            f"--hypothesis-profile=mutants --hypothesis-seed={self._seed} --rootdir={self._root}"
        )
        return int(pytest.main([*options.split(), *places], plugins=[plugin]))


class _Chosen:
    """A plugin that runs `tests`, in that order, and whatever only the bug makes a test."""

    def __init__(self, tests: Sequence[str], known: Any, writing: int) -> None:
        self._ranks = {test: rank for rank, test in enumerate(tests)}
        self._known = known
        self._writing = writing

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        ours = [i for i in items if i.nodeid in self._ranks or i.nodeid not in self._known]
        items[:] = sorted(ours, key=lambda item: self._ranks.get(item.nodeid, -1))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        os.write(self._writing, f"{nodeid}\n".encode())


class _Planted:
    """The bug, in place of the file's own text, whenever this process imports the file."""

    def __init__(self, root: Path, mutant: Mutant | None) -> None:
        self.was_imported = False
        if mutant is None:
            return
        place = str(root / mutant.path)
        own = SourceFileLoader.get_code

        def get_code(loader: Any, name: str) -> CodeType | None:
            if loader.path != place:
                return own(loader, name)
            self.was_imported = True
            code: CodeType = compile(mutant.source, place, "exec", dont_inherit=True)
            return code

        setattr(SourceFileLoader, "get_code", get_code)  # noqa: B010 - mypy cannot see it as one


def _forked(run: Callable[[], int], memory: int) -> int:
    """The id of a new process that ends with what `run` gives; it is the first of its group."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        status = run()
    finally:
        os._exit(status)


def _import_all(names: Sequence[str]) -> None:
    """What is not ours is imported once, not for each bug."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

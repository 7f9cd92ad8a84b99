"""Runs cases and judges each: what was raised, how long it took, what it held, what it told."""

from __future__ import annotations

import gc
import io
import logging
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from services.runtime.errors import PerennialError
from tests.fuzz.hostile import CANARY
from tests.fuzz.targets import Target, targets

CPU_SECONDS_MAX: Final = 0.05
MEMORY_BYTES_MAX: Final = 50_000_000
MEMORY_SAMPLED: Final = 256
"""Tracing memory costs four times the case itself: one case of so many is traced."""
TIMED_AGAIN: Final = 4
FINDINGS_MAX: Final = 20
_NUMBER: Final = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that must not end as it did; `seed` and `number` make it again."""

    target: str
    seed: int
    number: int
    problem: str

    def __str__(self) -> str:
        """Say how to see it again."""
        again = f"python -m tests.fuzz --seed {self.seed} --case {self.number}"
        return f"{self.target}: {self.problem}\n    again: {again}"


@dataclass(slots=True)
class Report:
    """What a campaign did."""

    cases: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_ms: float = 0.0
    largest_bytes: int = 0


class Campaign:
    """Cases in order of their number; the same seed and number always make the same case."""

    def __init__(self, seed: int) -> None:
        """Begin with `seed`."""
        self._seed = seed
        self._targets = targets()
        self._weights = [target.weight for target in self._targets]
        self.report = Report()
        self._kinds: set[tuple[str, str]] = set()

    def case(self, number: int) -> tuple[Target, Any]:
        """Return the target and the input of one case."""
        random = Random(self._seed * 1_000_003 + number)
        target = random.choices(self._targets, self._weights)[0]
        return target, target.make(random)

    def run(self, number: int) -> None:
        """Make, read and judge one case."""
        target, case = self.case(number)
        report = self.report
        report.cases[target.name] += 1
        told, problem, seconds = self._read(target, case)
        if problem is None and seconds > CPU_SECONDS_MAX:
            # The collector or a neighbour may have had the time: the case itself has it each time.
            again = [self._read(target, case)[2] for _ in range(TIMED_AGAIN)]
            seconds = min(seconds, *again)
            if seconds > CPU_SECONDS_MAX:
                problem = f"took {seconds * 1000:.0f} ms of CPU"
        if problem is None and CANARY in told:
            problem = "repeats what was sent in its message"
        if problem is None and number % MEMORY_SAMPLED == 0:
            problem = self._measured(target, case)
        report.slowest_ms = max(report.slowest_ms, seconds * 1000)
        report.refused[target.name] += bool(told)
        if problem is not None:
            self._note(target, number, problem)

    def _read(self, target: Target, case: Any) -> tuple[str, str | None, float]:
        started = time.thread_time()
        told, problem = "", None
        try:
            with _logged() as lines:
                told = target.read(case)
            told += lines.getvalue()
        except PerennialError as error:
            problem = f"raised {type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - finding it is the purpose
            problem = f"raised {type(error).__name__}"
        return told, problem, time.thread_time() - started

    def _measured(self, target: Target, case: Any) -> str | None:
        gc.collect()
        tracemalloc.start()
        try:
            self._read(target, case)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.report.largest_bytes = max(self.report.largest_bytes, peak)
        return f"held {peak} bytes" if peak > MEMORY_BYTES_MAX else None

    def _note(self, target: Target, number: int, problem: str) -> None:
        kind = (target.name, _NUMBER.sub("", problem.partition(":")[0]))
        if kind not in self._kinds and len(self.report.findings) < FINDINGS_MAX:
            self._kinds.add(kind)
            self.report.findings.append(Finding(target.name, self._seed, number, problem))


def fuzz(seed: int, first: int, cases: int | None, seconds: float) -> Report:
    """Run the cases from number `first`, so many or for so long."""
    campaign = Campaign(seed)
    ends_at = time.monotonic() + seconds
    number = first
    while number - first < cases if cases is not None else time.monotonic() < ends_at:
        campaign.run(number)
        number += 1
    return campaign.report


@contextmanager
def _logged() -> Iterator[io.StringIO]:
    """Collect whatever is logged meanwhile."""
    lines = io.StringIO()
    handler = _HANDLER
    handler.setStream(lines)
    yield lines


_HANDLER: Final = logging.StreamHandler(io.StringIO())
logging.getLogger().addHandler(_HANDLER)
logging.getLogger().setLevel(logging.WARNING)

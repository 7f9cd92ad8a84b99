"""`make mutants SAMPLE= SEED= ONLY= SCOPE=`: put bugs into the code, say which no test notices."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from tests.mutants.database import database
from tests.mutants.planting import mutants_in, sample_of
from tests.mutants.trials import BrokenTestsError, Court, Limits, Verdict

FLOOR: Final = 0.9
"""The least share of bugs that the tests must notice."""


def main() -> int:
    """Judge the bugs; return 1 when the score is below the floor, 2 when it cannot be told."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="where pyproject.toml is")
    parser.add_argument("--sample", type=int, help="how many bugs; all otherwise")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument(
        "--scope", help="a table of its own below tool.mutants; else the unit tests"
    )
    parser.add_argument("--only", default="*", help="a pattern for the paths of files")
    options = parser.parse_args()
    root = options.root.resolve()
    os.chdir(root)
    table = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["mutants"]
    table = table[options.scope] if options.scope else table
    every = [m for m in mutants_in(root, table["files"]) if fnmatch(m.path, options.only)]
    chosen = sample_of(every, options.sample, options.seed)
    print(f"{len(chosen)} of {len(every)} bugs, seed {options.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as compiled, ExitStack() as stack:
        if table.get("database"):
            stack.enter_context(database())
        sys.dont_write_bytecode, sys.pycache_prefix = False, compiled
        try:
            paths = sorted({mutant.path for mutant in every})
            court = Court(root, paths, table["tests"], Limits(**table["limits"]), options.seed)
            print(f"without a bug the tests pass ({time.monotonic() - started:.0f} s)", flush=True)
            verdicts: list[Verdict] = []
            for mutant in chosen:
                verdicts.append(court.judged(mutant))
                _tell(verdicts)
        except BrokenTestsError as broken:
            print(broken)
            return 2
    for test in court.set_aside:
        print(f"set aside, since it fails alone without a bug: {test}")
    print(*score_of(verdicts), f"{time.monotonic() - started:.0f} s", sep="\n")
    return 0 if sum(v.killed for v in verdicts) >= FLOOR * len(verdicts) else 1


def score_of(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each file, and one for all with the interval in which the score of all bugs lies."""
    lines = []
    for path in sorted({v.mutant.path for v in verdicts}):
        fates = Counter(v.fate for v in verdicts if v.mutant.path == path)
        lines.append(f"{path}: " + ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())))
    killed, tried = sum(v.killed for v in verdicts), len(verdicts)
    low, high = interval_of(killed, tried)
    lines.append(
        f"{killed} of {tried} killed: {killed / tried:.1%}"
        f" (95 % interval of a sample: {low:.1%} to {high:.1%}); the floor is {FLOOR:.0%}"
    )
    return lines


def interval_of(killed: int, tried: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share of which a sample was seen.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    z = 1.959964
    share, spread = killed / tried, z * z / tried
    middle = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / tried + spread / (4 * tried))
    return (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)


def _tell(verdicts: Sequence[Verdict]) -> None:
    last, so_far = verdicts[-1], len(verdicts)
    if not last.killed:
        print(f"\n{last.fate}: {last.mutant.diff()}", flush=True)
    if so_far % 50 == 0:
        print(f"\n{so_far} bugs, {sum(v.killed for v in verdicts)} killed", flush=True)


if __name__ == "__main__":
    sys.exit(main())

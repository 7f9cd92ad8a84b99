"""`make fuzz SECONDS= SEED=`: hostile input for as long as wanted, on every processor."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import time

from tests.fuzz.campaign import Campaign, Report, fuzz

_STRIDE = 1 << 40
"""Each process has numbers of its own."""


def main() -> int:
    """Fuzz, and return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--cases", type=int, help="how many cases instead, over all processes")
    parser.add_argument("--seed", type=int, help="the seed; a random one otherwise")
    parser.add_argument("--case", type=int, help="one case again, and what it is")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    if options.case is not None:
        return _again(seed, options.case)
    per_process = None if options.cases is None else -(-options.cases // options.processes)
    jobs = [
        (seed, process * _STRIDE, per_process, options.seconds)
        for process in range(options.processes)
    ]
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        reports = pool.starmap(fuzz, jobs)
    return _told(seed, reports, time.monotonic() - started)


def _again(seed: int, number: int) -> int:
    campaign = Campaign(seed)
    target, case = campaign.case(number)
    print(f"{target.name}\n{case!r}"[:20_000])
    print(f"-> {target.read(case)}")
    return 0


def _told(seed: int, reports: list[Report], seconds: float) -> int:
    cases = sum(report.cases.total() for report in reports)
    print(f"seed {seed}: {cases} cases in {seconds:.0f} s ({cases / seconds:.0f}/s)")
    for name in sorted({name for report in reports for name in report.cases}):
        count = sum(report.cases[name] for report in reports)
        refused = sum(report.refused[name] for report in reports)
        print(f"  {name:24} {count:10} cases, {refused / count:.0%} refused with a reason")
    slowest = max(report.slowest_ms for report in reports)
    largest = max(report.largest_bytes for report in reports)
    print(f"  slowest case {slowest:.1f} ms of CPU; largest traced {largest / 1e6:.1f} MB")
    findings = [finding for report in reports for finding in report.findings]
    for finding in findings:
        print(f"  FOUND {finding}")
    print("nothing found" if not findings else f"{len(findings)} found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

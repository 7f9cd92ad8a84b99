"""CPU time and memory of the processes of a run, by name."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psutil

_SAMPLE_SECONDS: Final = 0.5
MIB: Final = 1 << 20


@dataclass(slots=True)
class Usage:
    """Seconds of CPU and resident MiB of each process, its children included."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    resident_mib: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0
    machine_cpu_seconds: float = 0.0

    def others_cpu(self) -> float:
        """Return how many CPUs were taken by what is not part of the run, this process included."""
        return (self.machine_cpu_seconds - sum(self.cpu_seconds.values())) / self.seconds


@contextmanager
def used(pids: Mapping[str, int]) -> Iterator[Usage]:
    """Measure the processes in `pids` (name -> id) while the block runs."""
    usage = Usage()
    before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
    machine, started = _machine_cpu_seconds(), time.monotonic()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            for name, pid in pids.items():
                with suppress(psutil.NoSuchProcess):
                    resident = sum(p.memory_info().rss for p in _family(pid))
                    usage.resident_mib[name].append(resident / MIB)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield usage
    finally:
        done.set()
        thread.join()
        usage.seconds = time.monotonic() - started
        usage.machine_cpu_seconds = _machine_cpu_seconds() - machine
        usage.cpu_seconds = {name: _cpu_seconds(pid) - before[name] for name, pid in pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    """Return what a family has used, with those who ended: else a vacuum's end would be a gain."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        for process in _family(pid):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
    return total


def _machine_cpu_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))

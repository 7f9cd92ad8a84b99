"""Ends the processes of a stack when the process that started them is gone, however it went.

The parent holds the other end of our standard input and writes a line for each process it starts.
End of file means that the parent is gone. What is still alive then gets its stop signal, and is
killed when that does not help in time.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

import psutil

STOP_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Started:
    """A process as it was started; pid and start time (seconds of the epoch) together are unique."""

    pid: int
    created: float
    stop_signal: int

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, pid: int, stop_signal: int) -> Started | None:
        """Describe a running process; None when it has ended already."""
        try:
            return cls(pid, psutil.Process(pid).create_time(), stop_signal)
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """Return the process if it is still this one."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def read_started(lines: Iterable[str]) -> list[Started]:
    """Return what whole lines describe; a line cut off by a crash is left out."""
    return [Started(**json.loads(line)) for line in lines if line.endswith("\n")]


def end_all(started: Iterable[Started], stop_seconds: float = STOP_SECONDS) -> int:
    """Stop what is alive, the youngest first; return how many were."""
    alive = [(item, process) for item in reversed(list(started)) if (process := item.process())]
    for item, process in alive:
        _signal(process, item.stop_signal)
    _, stubborn = psutil.wait_procs([process for _, process in alive], timeout=stop_seconds)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=5)
    return len(alive)


def _signal(process: psutil.Process, signum: int) -> None:
    try:
        process.send_signal(signum)
    except psutil.NoSuchProcess:
        return


def main() -> None:
    """Read lines until the parent is gone."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    end_all(read_started(sys.stdin))


if __name__ == "__main__":
    main()

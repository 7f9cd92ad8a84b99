"""Child processes with a log file each, which end when this process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from deploy.local.errors import StackError
from deploy.local.guard import Started, end_all, read_started
from deploy.local.ports import is_open

ROOT: Final = Path(__file__).parents[2]
_TAIL_LINES: Final = 12


@dataclass(slots=True)
class Child:
    """One process of the stack."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self.popen.poll()

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])

    def stop(self, seconds: float = 40) -> int:
        """Ask it to stop, kill it when it does not; return its exit status."""
        if self.exit_code is None:
            self.popen.send_signal(self.stop_signal)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it at once, as a crash would; return its exit status."""
        if self.exit_code is None:
            self.popen.kill()
        return self.popen.wait(10)

    def wait_for_port(self, port: int, seconds: float = 60) -> None:
        """Return when `port` is open.

        Raises:
            StackError: the process ended, or the port stays closed.
        """
        ends_at = time.monotonic() + seconds
        while not is_open(port):
            if self.exit_code is not None:
                raise self.failed(f"ended with status {self.exit_code}")
            if time.monotonic() > ends_at:
                raise self.failed(f"did not open port {port} within {seconds:.0f} s")
            time.sleep(0.05)

    def failed(self, what: str) -> StackError:
        """Return an error that shows the end of the log."""
        return StackError(f"{self.name} {what}. The end of {self.log}:\n{self.log_tail()}")


class Processes:
    """Starts children, tells the guard of each, and stops them in reverse order."""

    def __init__(self, folder: Path) -> None:
        """Keep logs and the list of what was started in `folder`; end what a crash left there."""
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._list = folder / "processes"
        self.recovered = end_leftovers(self._list)
        self._children: list[Child] = []
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
            text=True,
        )

    def start(
        self,
        name: str,
        command: Sequence[object],
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        """Start `command` from the root of the checkout."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )
        if started := Started.of(popen.pid, stop_signal):
            self._tell(started)
        child = Child(name, popen, log, stop_signal)
        self._children = [other for other in self._children if other.exit_code is None]
        self._children.append(child)
        return child

    def run(self, name: str, command: Sequence[object]) -> None:
        """Run `command` to its end.

        Raises:
            StackError: it failed.
        """
        child = self.start(name, command)
        if child.popen.wait(120) != 0:
            raise child.failed(f"ended with status {child.exit_code}")

    def close(self) -> None:
        """Stop all children, the youngest first, and the guard."""
        for child in reversed(self._children):
            child.stop()
        pipe = self._pipe()
        if not pipe.closed:
            pipe.close()
        self._guard.wait(60)
        self._list.unlink(missing_ok=True)

    def _tell(self, started: Started) -> None:
        with self._list.open("a") as file:
            file.write(started.line())
        self._pipe().write(started.line())
        self._pipe().flush()

    def _pipe(self) -> IO[str]:
        if self._guard.stdin is None:
            message = "the guard has no standard input"
            raise StackError(message)
        return self._guard.stdin


def end_leftovers(file: Path) -> int:
    """End the processes that a crashed stack left running; return how many there were."""
    if not file.is_file():
        return 0
    with file.open() as lines:
        count = end_all(read_started(lines))
    file.unlink()
    return count

"""stripe-mock, built from its Go module, and localstripe, a program of its package: one process each."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from deploy.local.ports import HOST, choose_ports
from tests.clients.toolchains import CACHE, go

HERE: Final = Path(__file__).parent
START_SECONDS_MAX: Final = 20


def stripe_mock() -> Path:
    """Return the program, built once for each version that `go.sum` pins."""
    pinned = (HERE / "go" / "go.sum").read_bytes()
    program = CACHE / f"stripe-mock-{hashlib.sha256(pinned).hexdigest()[:16]}"
    if not program.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as partial:
            made = Path(partial) / "stripe-mock"
            go("build", "-o", made, "github.com/stripe/stripe-mock", cwd=HERE / "go")
            made.replace(program)
    return program


@contextmanager
def running_stripe_mock(folder: Path) -> Iterator[str]:
    """Yield the address of Stripe's mock: it checks requests and answers with examples."""
    port = choose_ports(folder / "stripe-mock.json", ["http"])["http"]
    with _running([stripe_mock(), "-http-addr", f"{HOST}:{port}"], port):
        yield f"http://{HOST}:{port}"


@contextmanager
def running_localstripe(folder: Path) -> Iterator[str]:
    """Yield the address of localstripe: it remembers what it was asked for."""
    port = choose_ports(folder / "localstripe.json", ["http"])["http"]
    command = [sys.executable, "-m", "localstripe", "--from-scratch", "--port", str(port)]
    with _running(command, port):
        yield f"http://{HOST}:{port}"


@contextmanager
def _running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < ends_at:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        with closing(socket.socket()) as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    message = f"{process.args!r} did not listen within {START_SECONDS_MAX} s"
    raise AssertionError(message)

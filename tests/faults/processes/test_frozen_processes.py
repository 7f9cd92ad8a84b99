"""Two processes of one service stop and wake by turns, longer than leases and sessions last."""

from __future__ import annotations

import os
import signal
import time
from random import Random
from typing import Final

import pytest

from services.runtime.app.start import EXIT_TRY_AGAIN
from tests.faults.conftest import Books
from tests.faults.stream import Stream, start, start_services
from tests.infrastructure.system import System

SECONDS_MAX: Final = 45
FROZEN_SECONDS: Final = (0.3, 1.5, 3.5, 5.0, 8.0)
"""Below and above the lease of an effect (3 s), a session of the consumer (6 s), and neither."""
AWAKE_SECONDS_MAX: Final = 1.5


@pytest.mark.parametrize(("service", "seed"), [("orders", 1), ("orders", 2), ("ledger", 3)])
def test_processes_that_freeze_by_turns_double_and_lose_nothing(
    system: System, undisturbed_books: Books, service: str, seed: int
) -> None:
    random = Random(seed)
    start_services(system)
    start(system, service, name="second")

    with Stream(system) as stream:
        ends_at = time.monotonic() + SECONDS_MAX
        while time.monotonic() < ends_at and not stream.outcome.is_complete():
            name = random.choice([service, "second"])
            freeze(system, name, random.choice(FROZEN_SECONDS))
            time.sleep(random.uniform(0, AWAKE_SECONDS_MAX))
            again(system, service)

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books


def freeze(system: System, name: str, seconds: float) -> None:
    """Stop a process in the middle of whatever it does, and let it go on."""
    pid = system.children[name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def again(system: System, service: str) -> None:
    """Start again what ended because it was stuck, as whatever runs the services must."""
    for name in (service, "second"):
        if (status := system.children[name].exit_code) is not None:
            assert status == EXIT_TRY_AGAIN
            start(system, service, name=None if name == service else name, wait=False)

"""Two processes of one service share the work, and take over from each other."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.conftest import Books
from tests.faults.stream import Stream, start, start_services
from tests.infrastructure.system import System


@pytest.mark.parametrize("service", ["orders", "ledger"])
def test_process_that_joins_and_processes_that_leave_lose_and_repeat_nothing(
    system: System, undisturbed_books: Books, service: str
) -> None:
    start_services(system)

    with Stream(system) as stream:
        stream.charged(0.1)
        start(system, service, name="second")
        stream.charged(0.3)
        assert system.children[service].stop(30) == 0
        start(system, service, wait=False)
        stream.charged(0.7)
        system.children["second"].kill()

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books


def test_frozen_process_that_wakes_up_finds_its_work_done(
    system: System, undisturbed_books: Books
) -> None:
    start_services(system)
    start(system, "ledger", name="second")
    frozen = system.children["ledger"]

    try:
        with Stream(system) as stream:
            stream.charged(0.3)
            os.kill(frozen.pid, signal.SIGSTOP)
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    system.wait_for("it works again", lambda: system.is_ready("ledger"))

    assert frozen.exit_code is None
    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books

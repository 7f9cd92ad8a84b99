"""Two processes of one service share the work, and take over from each other."""

from __future__ import annotations

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

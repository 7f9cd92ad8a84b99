"""A service that is asked to stop in the middle of its work stops soon, and loses nothing."""

from __future__ import annotations

from tests.faults.conftest import Books
from tests.faults.stream import SETTINGS, Stream, start, start_services
from tests.infrastructure.system import System

STOP_SECONDS = 30


def test_services_stopped_in_mid_stream_exit_with_0_and_lose_nothing(
    system: System, undisturbed_books: Books
) -> None:
    start_services(system)

    with Stream(system) as stream:
        for service, share in zip(SETTINGS, (0.2, 0.4, 0.6), strict=True):
            stream.charged(share)
            child = system.children[service]
            assert child.stop(STOP_SECONDS) == 0, child.log_tail()
            start(system, service, wait=False)

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books

"""A service that is killed in the middle of its work, and started again, does everything once."""

from __future__ import annotations

import signal

import pytest

from tests.faults.conftest import Books
from tests.faults.stream import SETTINGS, Stream, start, start_services
from tests.infrastructure.system import System


@pytest.mark.parametrize("service", list(SETTINGS))
def test_service_killed_in_mid_stream_does_everything_once(
    system: System, undisturbed_books: Books, service: str
) -> None:
    start_services(system)

    with Stream(system) as stream:
        for share in (0.2, 0.75):
            stream.charged(share)
            assert system.children[service].kill() == -signal.SIGKILL
            start(system, service, wait=False)

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books

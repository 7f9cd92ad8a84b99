"""A broker or a database server that is killed and comes back: nobody has to help."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import Books
from tests.faults.stream import Stream, all_are_ready, start_services
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import System


def restart_kafka(infrastructure: Infrastructure) -> None:
    infrastructure.restart_kafka()


def restart_postgres(infrastructure: Infrastructure) -> None:
    infrastructure.restart_postgres()


@pytest.mark.parametrize("restart", [restart_kafka, restart_postgres])
def test_services_outlive_a_restart_in_mid_stream(
    system: System, undisturbed_books: Books, restart: Callable[[Infrastructure], None]
) -> None:
    start_services(system)

    with Stream(system) as stream:
        stream.charged(0.3)
        restart(system.infrastructure)

    system.wait_for("all are ready again", lambda: all_are_ready(system))
    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books

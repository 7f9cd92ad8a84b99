"""One run without faults, for its books: what every run with faults must come to as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.local.ports import choose_ports
from deploy.local.processes import Processes
from tests.faults.recovery.physical_backup import ArchivedPostgres
from tests.faults.stream import Stream, start_services
from tests.infrastructure import Infrastructure
from tests.infrastructure.databases import new_database
from tests.infrastructure.system import System

Books = Mapping[tuple[int, str, str], int]


@pytest.fixture(scope="session")
def undisturbed_books(infrastructure: Infrastructure) -> Books:
    """Return the balances that the stream leads to when nothing goes wrong."""
    dsn = new_database(infrastructure.admin_dsn, "undisturbed")
    with System(infrastructure, dsn) as system:
        start_services(system)
        with Stream(system) as stream:
            pass
        stream.outcome.check()
        return stream.outcome.balances()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[ArchivedPostgres]:
    """Yield a server of its own that keeps its WAL: it can be restored and fail over."""
    processes = Processes(tmp_path)
    port = choose_ports(tmp_path / "ports", ["postgres"])["postgres"]
    try:
        server = ArchivedPostgres(tmp_path, port, processes)
        server.start()
        yield server
    finally:
        processes.close()

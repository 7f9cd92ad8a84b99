"""Postgres restored to a point in time from a base backup and WAL, with Kafka ahead of it."""

from __future__ import annotations

from tests.faults.conftest import Books
from tests.faults.records.test_lost_records import halted
from tests.faults.recovery.physical_backup import ArchivedPostgres
from tests.faults.recovery.recovery import SERVICES, recover
from tests.faults.recovery.test_restore import logs, start_looking_up_first, stop_all
from tests.faults.stream import Stream, start, start_services
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import System


def test_database_restored_to_a_point_in_time_charges_and_activates_nothing_twice(
    infrastructure: Infrastructure, database: ArchivedPostgres, undisturbed_books: Books
) -> None:
    with System(infrastructure, database.admin_dsn) as system:
        start_services(system)
        with Stream(system) as stream:
            database.back_up()
            stream.charged(0.3)
            database.restore_point("before")
            events_then = events(system)
            stream.charged(0.8)
            stop_all(system)
            charges_before = stream.outcome.charges()
            before = logs(system)

            database.restore("before")

            restored = events(system)
            assert 0 < restored <= events_then < len(before["orders"])
            error = halted(start(system, "orders", wait=False))
            assert "the database was restored to an earlier moment" in error
            for service in ("orders", "notifier"):
                recover(system, "adopt", service, "--yes")
                assert logs(system)[service] == before[service]
            for service in SERVICES:
                start_looking_up_first(system, service)

        stream.outcome.check()
        assert set(charges_before) <= set(stream.outcome.charges())
        assert stream.outcome.balances() == undisturbed_books


def events(system: System) -> int:
    """Return how many events the log of orders holds."""
    rows = system.query("orders", "SELECT count(*) FROM event")
    return int(rows[0][0])

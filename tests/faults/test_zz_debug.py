"""Postgres restored to an earlier moment while Kafka, the gateway and the mailboxes went on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.local.postgres import program
from deploy.local.processes import Child
from tests.faults.conftest import Books
from tests.faults.recovery import SERVICES, recover
from tests.faults.stream import SETTINGS, Stream, start, start_services
from tests.faults.test_lost_records import halted
from tests.infrastructure.system import System

EVERYTHING = "SELECT * FROM event ORDER BY shard, position"


def dump(system: System, path: Path) -> None:
    """Save the whole database as of now; the services may go on meanwhile."""
    run("pg_dump", "--format=custom", f"--file={path}", system.admin_dsn)


def restore(system: System, path: Path) -> None:
    """Put the saved database in the place of what is there."""
    run(
        "pg_restore", "--clean", "--if-exists", "--exit-on-error",
        f"--dbname={system.admin_dsn}", path,
    )  # fmt: skip


def run(name: str, *arguments: object) -> None:
    done = subprocess.run(
        [str(program(name)), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def stop_all(system: System) -> None:
    for service in SERVICES:
        assert system.children[service].stop() == 0


def start_looking_up_first(system: System, service: str) -> Child:
    """Start a service that takes no effect for new."""
    return system.start(service, wait=False, LOOK_UP_FIRST=True, **SETTINGS[service])


def test_restored_database_halts_orders_and_then_nothing_is_charged_or_activated_twice(
    system: System, undisturbed_books: Books, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.dump"
    start_services(system)

    stream = Stream(system)
    import contextlib
    with dbg(system, stream), stream:
        stream.charged(0.3)
        dump(system, saved)
        stream.charged(0.8)
        stop_all(system)
        charges_before = stream.outcome.charges()
        before = logs(system)
        restore(system, saved)

        error = halted(start(system, "orders", wait=False))
        assert "the database was restored to an earlier moment" in error
        assert "docs/OPERATIONS.md" in error

        assert "would be taken back" in recover(system, "adopt", "orders")
        for service in ("orders", "notifier"):
            recover(system, "adopt", service, "--yes")
        assert logs(system)["orders"] == before["orders"]
        assert logs(system)["notifier"] == before["notifier"]
        for service in SERVICES:
            start_looking_up_first(system, service)

    stream.outcome.check()
    assert set(charges_before) <= set(stream.outcome.charges())
    assert stream.outcome.balances() == undisturbed_books


def logs(system: System) -> dict[str, list[tuple[object, ...]]]:
    """Return all events of each service, down to their hashes."""
    return {
        service: [tuple(row) for row in system.query(service, EVERYTHING)] for service in SERVICES
    }


import contextlib


@contextlib.contextmanager
def dbg(system, stream):
    try:
        yield
    except AssertionError:
        o = stream.outcome
        print("activated", o._count("orders", "PlanActivated"), len(o.activations))
        print("booked", o._booked(), "untold", len(o._untold()))
        for s in SERVICES:
            print(s, [tuple(r) for r in system.query(s, "select type, count(*) from event group by 1 order by 1")])
            print(s, "dlq", system.dead_letters(s))
            print(s, [tuple(r) for r in system.query(s, "select kind, hold_key is not null held, due_at, lease_until, attempt, interrupted, stream_id from effect limit 40")])
        for sid in [r["stream_id"] for r in system.query("orders", "select stream_id from event group by 1 having not bool_or(type like '%PlanActivated%' or type like '%ToppedUp%')")][:5]:
            print(sid, [r["type"] for r in system.query("orders", "select type from event where stream_id=$1 order by stream_version", sid)])
            print("  ledger", [tuple(r) for r in system.query("ledger", "select type, sequence, shard from event where correlation_id=$1", sid.split("/")[1])])
        facts = o._untold()
        for f in list(facts)[:5]:
            print("untold", f, [tuple(r) for r in system.query("orders", "select type, shard, sequence from event where event_id=$1", f)], [tuple(r) for r in system.query("ledger", "select type, shard, sequence from event where event_id=$1 and source like '%ledger'", f)])
        print([tuple(r) for r in system.query("orders","select * from shard")][:1], [tuple(r) for r in system.query("notifier", "select source, shard, last_sequence from source_sequence")])
        raise

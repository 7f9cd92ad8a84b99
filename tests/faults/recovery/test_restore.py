"""Postgres restored to an earlier moment while Kafka, the gateway and the mailboxes went on."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.processes import Child
from deploy.local.servers.postgres import program
from tests.faults.conftest import Books
from tests.faults.records.test_lost_records import halted
from tests.faults.recovery.recovery import SERVICES, perennial, recover
from tests.faults.requests import card_renewal
from tests.faults.stream import SETTINGS, Stream, start, start_services
from tests.infrastructure.system import System

EVERYTHING = "SELECT * FROM event ORDER BY shard, position"


def dump(system: System, path: Path) -> None:
    """Save the whole database as of now; the services may go on meanwhile."""
    run("pg_dump", "--clean", "--if-exists", "--inserts", f"--file={path}", system.admin_dsn)


def restore(system: System, path: Path) -> None:
    """Put the saved database in the place of what is there."""
    # A newer pg_dump sets what an older server does not know, and has commands of psql in it.
    lines = path.read_text().splitlines(keepends=True)
    kept = (line for line in lines if not line.startswith(("SET transaction_timeout", "\\")))
    asyncio.run(_execute(system.admin_dsn, "".join(kept)))


async def _execute(dsn: str, script: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


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

    with Stream(system) as stream:
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


def test_refund_that_a_person_settled_after_the_backup_is_not_made_again(
    system: System, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.dump"
    once: dict[str, Any] = {"REFUND_RETRY_SECONDS": 3_600, "REFUND_RETRY_SECONDS_MAX": 3_600}
    child = system.start("orders", **once)
    system.publish(
        "RenewalRequested", card_renewal(1, "settled", token="tok_refund_down", ending="9001")
    )
    tried = "SELECT effect_id FROM effect WHERE kind = 'refund' AND lease_until IS NULL"
    refund = system.wait_for("the refund waits", lambda: system.query("orders", tried))
    dump(system, saved)
    settled = perennial(
        system, "effects", "settle", refund[0]["effect_id"], "--outcome", "refunded",
        "--gateway", "bank", "--reference", "transfer-9", "--by", "li.wei", "--reason", "by hand",
    )  # fmt: skip
    assert "applied (RefundCompleted)" in settled.stdout, settled.stdout + settled.stderr
    assert child.stop() == 0

    restore(system, saved)
    assert system.query("orders", tried)
    recover(system, "adopt", "orders", "--yes")

    assert len(system.events("orders", "RefundCompleted")) == 1
    assert system.query("orders", "SELECT effect_id FROM effect") == []

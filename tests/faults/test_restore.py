"""Postgres restored to an earlier moment while Kafka, the gateway and the mailboxes went on."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from uuid import UUID

from deploy.local.postgres import program
from deploy.local.processes import Child
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS
from tests.faults.conftest import Books
from tests.faults.recovery import SERVICES, make_again, recover
from tests.faults.stream import SETTINGS, Stream, start, start_services
from tests.faults.test_lost_records import halted
from tests.infrastructure.system import System

OWN_TOPICS = (ORDERS, LEDGER, NOTIFICATIONS)


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

    with Stream(system) as stream:
        stream.charged(0.3)
        dump(system, saved)
        stream.charged(0.8)
        stop_all(system)
        charges_before = stream.outcome.charges()
        mails_before = [str(mail["Message-ID"]) for mail in system.mails()]
        restore(system, saved)

        error = halted(start(system, "orders", wait=False))
        assert "the database was restored to an earlier moment" in error
        assert "docs/OPERATIONS.md" in error

        make_again(system, [topic.name for topic in OWN_TOPICS])
        for service in SERVICES:
            for topic in (each for each in OWN_TOPICS if service in each.groups):
                recover(system, "reread", service, topic.name, "--yes")
            recover(system, "republish", service, "--yes")
        for service in SERVICES:
            start_looking_up_first(system, service)

    outcome = stream.outcome
    outcome.check_done_once()
    assert set(charges_before) <= set(outcome.charges())
    outcome.check_ledger_has_each_event_once()
    outcome.check_books()
    assert outcome.balances() == undisturbed_books
    assert [system.dead_letters(service) for service in SERVICES] == [[], [], []]
    check_mails(system, mails_before)


def check_mails(system: System, before: list[str]) -> None:
    """A mail sent after the saved moment may come once more, never a third time."""
    mailed = Counter(str(mail["Message-ID"]) for mail in system.mails())
    assert set(mailed.values()) <= {1, 2}
    repeated = {message_id for message_id, times in mailed.items() if times > 1}
    assert repeated <= set(before)
    sent = {UUID(body["fact_event_id"]) for body in system.events("notifier", "NotificationSent")}
    assert sent <= {UUID(message_id[1:].partition("@")[0]) for message_id in mailed}

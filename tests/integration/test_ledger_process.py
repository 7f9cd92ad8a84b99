"""The ledger as a process on real Kafka and Postgres: the books survive a crash, a gap stops it."""

from __future__ import annotations

import asyncio
from typing import Any

from schemas.envelope import Source
from schemas.topics import LEDGER, ORDERS
from services.cli.connections import connect
from services.ledger.checks import Check
from services.ledger.rules import load_rules
from services.ledger.verify import verify
from services.runtime.start import EXIT_HALTED
from tests.books import Books, Record
from tests.infrastructure.system import System
from tests.integration.test_ledger_books import played


def publish(system: System, records: list[Record]) -> None:
    """Publish to the topic of orders, as orders does."""
    rows = [(record.key, record.value, record.headers) for record in records]
    system.publish_raw(*rows, topic=ORDERS.name)


def failed_checks(system: System) -> list[Check]:
    """Verify the ledger's books and return what fails."""

    async def run() -> list[Check]:
        async with connect("ledger", system.dsn("ledger")) as connection:
            return await verify(connection, system.dsn("ledger"), "ledger", load_rules())

    return [check for check in asyncio.run(run()) if not check.ok]


def wait_for_events(system: System, count: int) -> None:
    """Wait until the ledger has filed so many events."""
    system.wait_for(
        f"{count} filed events",
        lambda: system.query("ledger", "SELECT 1 FROM event HAVING count(*) >= $1", count) or None,
    )


def answers(books: Books) -> list[str]:
    """Return the wire types of the events that the ledger itself decides."""
    own = {"WalletCharged", "WalletChargeRefused", "LowBalanceDetected"}
    names = (type(event).__name__ for event in books.filed)
    return sorted(f"billing.{name}.v1" for name in names if name in own)


def published_once(system: System) -> dict[tuple[int, int], str]:
    """Return (partition, sequence) -> wire type of what is on the ledger's topic.

    A relay that was killed before it noted what it published does so again, as it was.
    """
    first: dict[tuple[int, int], Any] = {}
    for record in system.records(LEDGER.name):
        headers = dict(record.headers)
        copy = first.setdefault((record.partition, int(headers["ce_sequence"])), record)
        assert (copy.key, copy.value, copy.headers) == (record.key, record.value, record.headers)
    return {place: dict(record.headers)["ce_type"].decode() for place, record in first.items()}


def test_ledger_killed_in_the_middle_books_everything_once(system: System) -> None:
    books = played(120)
    records = books.records()
    publish(system, records[:100])
    ledger = system.start("ledger", BATCH_RECORDS_MAX=5)
    wait_for_events(system, 10)
    ledger.kill()
    publish(system, records[100:])
    system.start("ledger")
    wait_for_events(system, len(books.filed))
    assert failed_checks(system) == []
    published = system.wait_for(
        "all answers on the topic",
        lambda: found if len(found := published_once(system)) >= len(answers(books)) else None,
    )
    assert sorted(published.values()) == answers(books)


def test_missing_event_stops_the_ledger(system: System) -> None:
    records = played(80, customers=1).records()
    publish(system, [*records[:20], *records[21:]])
    ledger = system.start("ledger", wait=False)
    assert system.wait_for("the ledger to stop", lambda: ledger.exit_code) == EXIT_HALTED
    assert set(system.dead_letters("ledger")) <= {"sequence_gap"}
    filed = system.query(
        "ledger", "SELECT max(sequence) FROM event WHERE source = $1", Source.ORDERS
    )
    assert filed[0][0] in {None, 20}

"""The ledger as a process on real Kafka and Postgres: the books survive a crash, a gap parks a shard."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from schemas.topics import LEDGER, ORDERS, Source
from services.cli.connections import connect
from services.ledger.rules.rule_file import load_rules
from services.ledger.verification.verify import verify
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.verify.checks import Check
from tests.books import Books, Record
from tests.infrastructure.system import SHARDS, System
from tests.integration.ledger.test_ledger_books import played
from tests.integration.operation.test_operator_commands import perennial


def publish(system: System, records: list[Record]) -> None:
    """Publish to the topic of orders, as orders does."""
    rows = [(record.key or b"", record.value or b"", record.headers) for record in records]
    system.publish_signed(*rows, topic=ORDERS.name)


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


def test_missing_event_parks_its_shard_and_the_others_go_on_until_it_is_there(
    system: System,
) -> None:
    books = played(80)
    records = books.records()
    shards = [shard_of((record.key or b"").decode(), SHARDS) for record in records]
    missing = next(n for n in range(20, len(records)) if len(set(shards[n:])) > 1)
    shard = shards[missing]
    publish(system, [*records[:missing], *records[missing + 1 :]])
    ledger = system.start("ledger")
    others = sum(each != shard for each in shards)

    def filed() -> tuple[int, int]:
        """Count the events of orders that were filed in the shard, and in all others."""
        rows = system.query(
            "ledger",
            "SELECT count(*) FILTER (WHERE shard = $1), count(*) FILTER (WHERE shard <> $1)"
            " FROM event WHERE source = $2",
            shard,
            Source.ORDERS,
        )
        return rows[0][0], rows[0][1]

    before = shards[:missing].count(shard)
    system.wait_for("the others", lambda: filed() == (before, others) or None)
    [parked] = system.wait_for(
        "a parked shard", lambda: system.query("ledger", "SELECT * FROM parked_shard")
    )
    assert (parked["shard"], parked["reason"], parked["sequence"]) == (
        shard,
        "sequence_gap",
        before + 2,
    )
    [shown] = json.loads(perennial(system, "shards", "list", "--json").stdout)
    assert (shown["shard"], shown["event_id"]) == (shard, str(parked["event_id"]))
    status = perennial(system, "status", ledger=system.address("ledger"))
    assert f"shard {shard} of ledger is parked" in " ".join(status.stdout.split())

    resume = ("shards", "resume", "--shard", str(shard), "--reason")
    refused = perennial(system, *resume, "too early")
    assert refused.returncode == 1
    assert "publish it again" in refused.stderr
    ledger.kill()
    publish(system, [each for n, each in enumerate(records) if n >= missing and shards[n] == shard])
    system.start("ledger")
    assert filed() == (before, others)
    resumed = perennial(system, *resume, "published again")
    assert (resumed.returncode, resumed.stdout) == (0, f"shard {shard}: resumed\n")
    system.wait_for("all", lambda: filed() == (shards.count(shard), others) or None)
    wait_for_events(system, len(books.filed))
    assert failed_checks(system) == []
    assert system.dead_letters("ledger") == []


def test_strangers_on_the_topic_of_orders_stop_nothing(system: System) -> None:
    books = played(40)
    records = books.records()
    system.publish_raw(*[(b"", b"", [])] * 11, topic=ORDERS.name, partition=0)
    publish(system, records)
    system.start("ledger")
    wait_for_events(system, len(books.filed))
    assert set(system.dead_letters("ledger")) == {"not_authentic"}
    assert system.query("ledger", "SELECT 1 FROM parked_shard") == []

"""What is published twice is handled once: a crash between publishing and noting it repeats."""

from __future__ import annotations

from schemas.topics import LEDGER, ORDERS
from tests.faults.stream import Stream, start, start_services
from tests.infrastructure.system import System

READS = {"orders": [LEDGER.name], "ledger": [ORDERS.name], "notifier": [ORDERS.name, LEDGER.name]}


def read(system: System) -> dict[str, int]:
    """Return how many records each service has read from topics of events."""
    asked = "SELECT coalesce(sum(next_offset), 0)::int AS read FROM cursor WHERE topic = ANY($1)"
    return {
        service: system.query(service, asked, topics)[0]["read"]
        for service, topics in READS.items()
    }


def wanted(counts: dict[str, int]) -> dict[str, int]:
    """Return how many records each service must have read when topics hold `counts`."""
    return {service: sum(counts[topic] for topic in topics) for service, topics in READS.items()}


def test_whole_log_published_again_changes_nothing(system: System) -> None:
    start_services(system)
    with Stream(system, accounts=20) as stream:
        pass
    before = stream.outcome.topics(), stream.outcome.balances(), len(system.mails())
    for service in ("orders", "ledger"):
        assert system.children[service].stop() == 0

    for service in ("orders", "ledger"):
        system.query(service, "UPDATE shard SET published_position = 0")
        start(system, service)
    doubled = {topic: 2 * count for topic, count in before[0].items()}
    system.wait_for("all is published again", lambda: stream.outcome.topics() == doubled)
    system.wait_for("all is read again", lambda: read(system) == wanted(doubled))

    stream.outcome.check()
    after = stream.outcome.topics(), stream.outcome.balances(), len(system.mails())
    assert after == (doubled, *before[1:])

"""The database loses its newest transactions while a service runs, as in an asynchronous fail-over."""

from __future__ import annotations

import signal

from tests.faults.requests import card_renewal
from tests.infrastructure.system import System

HALTED = 70
TABLES = ("shard", "cursor", "source_sequence", "taken_event", "effect", "event")


def test_service_writes_nothing_to_a_log_that_lost_what_it_committed(system: System) -> None:
    system.start("orders")
    system.publish("RenewalRequested", card_renewal(2, "kept", token="tok_ok", ending="0000"))
    system.wait_for("the first", lambda: system.events("orders", "PlanActivated"))
    # What waits to be published is published by a relay of whatever log: that is not looked for.
    system.wait_for("the first is published", lambda: _all_is_published(system))
    for table in TABLES:
        system.query("orders", f"CREATE TABLE kept_{table} AS TABLE {table}")
    system.publish("RenewalRequested", card_renewal(3, "lost", token="tok_ok", ending="0000"))
    system.wait_for("the second", lambda: system.events("orders", "PlanActivated")[1:])
    system.wait_for("the second is published", lambda: _all_is_published(system))

    orders = system.children["orders"]
    orders.popen.send_signal(signal.SIGSTOP)
    system.query("orders", "ALTER TABLE event DISABLE TRIGGER ALL")
    for table in TABLES:
        system.query("orders", f"DELETE FROM {table}")
        columns = "shard, head_position, head_hash, head_sequence, published_position, parked"
        wanted = columns if table == "shard" else "*"
        into = f"shard ({columns})" if table == "shard" else table
        system.query("orders", f"INSERT INTO {into} SELECT {wanted} FROM kept_{table}")
    system.query("orders", "ALTER TABLE event ENABLE TRIGGER ALL")
    before = system.query("orders", "SELECT * FROM event ORDER BY shard, position")
    published = len(system.published("billing.orders.v1"))
    system.publish("RenewalRequested", card_renewal(3, "next", token="tok_ok", ending="0000"))
    orders.popen.send_signal(signal.SIGCONT)

    assert orders.popen.wait(60) == HALTED
    assert "that this process committed" in orders.log.read_text()
    assert system.query("orders", "SELECT * FROM event ORDER BY shard, position") == before
    assert len(system.published("billing.orders.v1")) == published
    again = system.start("orders", wait=False)
    assert again.popen.wait(60) == HALTED
    assert "this log ends at" in again.log.read_text()


def _all_is_published(system: System) -> bool:
    behind = "SELECT 1 FROM shard WHERE published_position < head_position"
    return not system.query("orders", behind)

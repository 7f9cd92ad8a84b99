"""Somebody who can write to the topic of orders, and what becomes of what he mints."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from deploy.local.services import keys_of
from schemas.topics import ORDERS
from services.runtime.authenticity import MAC, EventSigner
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.key_ring import KeyRing
from tests.infrastructure.system import EVENT_KEYS, SHARDS, Headers, System
from tests.integration.operation.test_verify_logs import failures, rewrite

ACCOUNT = "acct-1"
FORGED_ID = UUID(int=7)


def top_up(number: int) -> dict[str, Any]:
    """Return a request for 20.00 EUR of credit."""
    return {
        "account_id": ACCOUNT,
        "topup_id": f"top-{number}",
        "amount": {"amount_minor": 2_000, "currency": "EUR"},
        "payment": {"method": "card", "mode": "charge", "currency": "EUR", "token": "tok_ok"},
        "requested_at": "2026-11-20T08:00:00Z",
    }


def forged(system: System, *, ahead: int = 1) -> tuple[bytes, bytes, Headers]:
    """Return 50,000.00 EUR for the account, as an event that orders would write."""
    record = [r for r in system.records(ORDERS.name) if b"WalletToppedUp" in str(r).encode()][-1]
    headers = dict(record.headers)
    newest = max(int(dict(each.headers)["ce_sequence"]) for each in system.records(ORDERS.name))
    body = json.loads(record.value)
    body |= {"topup_id": "top-forged", "lot_id": "lot-forged"}
    body["amount"]["amount_minor"] = 5_000_000
    headers |= {
        "ce_id": str(FORGED_ID).encode(),
        "ce_sequence": b"%020d" % (newest + ahead),
        "ce_subject": b"topup/top-forged",
    }
    return record.key, json.dumps(body).encode(), list(headers.items())


def signed_by_a_thief(system: System) -> tuple[bytes, bytes, Headers]:
    """Return the same, signed with what the file of the notifier holds of orders."""
    account, body, headers = forged(system)
    held = dict(line.split(":") for line in keys_of("notifier", EVENT_KEYS).splitlines())
    ring = KeyRing({"tests": bytes.fromhex(held["orders/notifier/tests"])})
    given = [(name, value or b"") for name, value in headers if name != MAC]
    shard = shard_of(ACCOUNT, SHARDS)
    mac = EventSigner({"ledger": ring, "orders": ring}).mac(
        ORDERS.name, shard, account, given, body
    )
    return account, body, [*given, mac]


def credited(system: System, count: int) -> None:
    """Return when the ledger has filed so many top-ups."""
    system.wait_for(
        f"{count} top-ups in the books",
        lambda: len(system.events("ledger", "WalletToppedUp")) == count,
    )


def test_forged_money_never_enters_the_books_and_the_honest_event_takes_its_number(
    system: System,
) -> None:
    """Nor does orders take its log for an older one when a forged number is ahead of it."""
    system.start("orders")
    system.start("ledger")
    system.publish("TopUpRequested", top_up(1))
    credited(system, 1)
    assert MAC in dict(system.records(ORDERS.name)[-1].headers)

    system.publish_raw(forged(system), topic=ORDERS.name)
    system.publish_raw(signed_by_a_thief(system), topic=ORDERS.name)
    system.wait_for("both are refused", lambda: len(system.dead_letters("ledger")) == 2)
    system.publish("TopUpRequested", top_up(2))
    credited(system, 2)

    assert system.dead_letters("ledger") == ["not_authentic"] * 2
    amounts = [
        event["amount"]["amount_minor"] for event in system.events("ledger", "WalletToppedUp")
    ]
    assert amounts == [2_000, 2_000]
    system.publish_raw(forged(system, ahead=500), topic=ORDERS.name)
    assert system.children["orders"].stop() == 0
    system.start("orders")
    system.publish("TopUpRequested", top_up(3))
    credited(system, 3)


def test_forged_money_that_entered_without_keys_is_found_by_verify(system: System) -> None:
    """The honest event is then the one that looks wrong: its shard is parked, and verify says why."""
    system.event_keys = None
    system.start("orders")
    system.start("ledger")
    system.publish("TopUpRequested", top_up(1))
    credited(system, 1)
    system.publish_raw(forged(system), topic=ORDERS.name)
    credited(system, 2)
    system.publish("TopUpRequested", top_up(2))
    parked = "SELECT shard, reason FROM parked_shard WHERE resumed_at IS NULL"
    found = system.wait_for("the shard is parked", lambda: system.query("ledger", parked))
    number = system.query("ledger", "SELECT sequence FROM event WHERE event_id = $1", FORGED_ID)
    sequence, shard = number[0]["sequence"], shard_of(ACCOUNT, SHARDS)
    honest = system.query(
        "orders", "SELECT event_id FROM event WHERE (shard, sequence) = ($1, $2)", shard, sequence
    )
    for service in ("orders", "ledger"):
        system.children[service].stop()
    assert [(row["shard"], row["reason"]) for row in found] == [(shard, "sequence_conflict")]

    problems = failures(system)
    # The ledger stands at the forged number, so both ends of the comparison tell.
    assert set(problems) == {"ledger: filed = orders", "orders: newest taken by ledger"}
    problem = problems["ledger: filed = orders"]
    assert f"shard {shard} sequence {sequence}" in problem
    assert str(FORGED_ID) in problem
    assert str(honest[0]["event_id"]) in problem


def test_numbers_used_again_after_a_lossy_failover_are_found_by_verify(system: System) -> None:
    """Orders loses its newest events after they were read, and gives their numbers to others."""
    system.event_keys = None
    system.start("orders")
    system.start("ledger")
    system.publish("TopUpRequested", top_up(1))
    credited(system, 1)
    assert failures(system) == {}
    for service in ("orders", "ledger"):
        assert system.children[service].stop() == 0

    rewrite(
        system,
        "orders",
        lambda e: e._replace(event_id=FORGED_ID) if e.type.endswith("WalletToppedUp.v1") else e,
    )

    problems = failures(system)
    assert "ledger: filed = orders" in problems
    assert str(FORGED_ID) in problems["ledger: filed = orders"]

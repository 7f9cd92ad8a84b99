"""One transaction of a gateway serves one order, in whatever shard, on real parts."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from itertools import count
from typing import Any

import asyncpg

from services.orders.payments.claims.transactions import PostgresClaims
from services.orders.sandbox_journal import GATEWAY_JOURNAL, SandboxJournal
from services.runtime.kafka.records.partitions import shard_of
from tests.infrastructure.system import SHARDS, System

RACES = 40
SHOP = "silent-bank"


def accounts_in_different_shards() -> tuple[str, str]:
    first = "acct-1"
    home = shard_of(first, SHARDS)
    other = next(
        name for name in (f"acct-{number}" for number in count(2)) if shard_of(name, SHARDS) != home
    )
    return first, other


def renewal(account_id: str, name: str) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "renewal_id": name,
        "iccid": "8985203000000000001",
        "plan_code": "eu-month-basic",
        "payment": {"method": "card", "mode": "await_confirmation", "currency": "USD"},
        "requested_at": "2026-11-20T08:00:00Z",
    }


def word(account_id: str, name: str, gateway: str, txn: str, amount: int = 2120) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "renewal_id": name,
        "method": "card",
        "gateway": gateway,
        "gateway_txn_id": txn,
        "amount": {"amount_minor": amount, "currency": "USD"},
        "confirmed_at": "2026-11-20T08:00:00Z",
    }


def pay(system: System, txn: str, reference: str) -> None:
    with (
        closing(SandboxJournal(system.folder / "sandbox" / GATEWAY_JOURNAL)) as journal,
        journal.locked(),
    ):
        journal.append(
            "payment",
            f"app/{txn}",
            txn=txn,
            reference=reference,
            method="card",
            amount_minor=2120,
            currency="USD",
            fee_minor=0,
            at="2026-11-20T08:00:00Z",
        )


def test_forged_confirmations_move_nothing_and_a_true_one_pays_once(system: System) -> None:
    one, two = accounts_in_different_shards()
    system.start(
        "orders",
        TRUST_CONFIRMATIONS_OF=SHOP,
        UNKNOWN_LOOK_UP_SECONDS="0.3",
        UNKNOWN_SETTLE_SECONDS="1",
    )
    names = {"a": one, "b": two, "c": one, "d": two}
    system.publish("RenewalRequested", *(renewal(who, name) for name, who in names.items()))
    system.wait_for("accepted", lambda: len(system.events("orders", "RenewalAccepted")) == 4)
    pay(system, "txn-a", "order/a")

    said = [
        word(two, "b", "app", "txn-a"),  # another's payment
        word(two, "b", "app", "txn-none"),  # nobody's
        word(one, "a", "app", "txn-a", amount=9_000_000),  # true, but for the amount
        word(one, "c", SHOP, "slip-1"),  # one slip of a bank for two orders at once
        word(two, "d", SHOP, "slip-1"),
    ]
    system.publish("PaymentConfirmed", *said, prefix="said")
    system.wait_for(
        "all are answered",
        lambda: (
            len(system.events("orders", "PaymentConfirmationRefused"))
            + len(system.events("orders", "PaymentCaptured"))
            >= len(said)
        ),
    )

    refused = system.events("orders", "PaymentConfirmationRefused")
    assert Counter(each["reason"] for each in refused) == Counter(
        ["another_reference", "unknown_transaction", "already_used"]
    )
    captured = system.events("orders", "PaymentCaptured")
    assert sorted(
        (each["gateway_txn_id"], each["amount"]["amount_minor"]) for each in captured
    ) == [
        ("slip-1", 2120),
        ("txn-a", 2120),
    ]
    assert system.events("orders", "RefundCompleted") == []
    owners = system.query("orders", "SELECT gateway_txn_id, stream_id FROM gateway_transaction")
    assert {row["gateway_txn_id"]: row["stream_id"] for row in owners} == {
        each["gateway_txn_id"]: f"order/{each['renewal_id']}" for each in captured
    }


def test_of_two_that_claim_at_once_one_wins_and_both_are_told_the_same(system: System) -> None:
    async def race() -> list[tuple[str, ...]]:
        async with asyncpg.create_pool(
            system.admin_dsn, min_size=4, server_settings={"search_path": "orders"}
        ) as pool:
            claims = PostgresClaims(pool)
            told: list[tuple[str, ...]] = []
            for number in range(RACES):
                wanted = [claims.claim("g", f"t{number}", f"order/{who}") for who in "abab"]
                told.append(tuple(await asyncio.gather(*wanted)))
            return told

    for owners in asyncio.run(race()):
        assert len(set(owners)) == 1

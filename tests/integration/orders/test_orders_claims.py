"""The claims on transactions are a cache of the log: what differs is found, what is lost comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.recovery.recovery import perennial, recover
from tests.faults.recovery.test_restore import dump, restore
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System
from tests.integration.operation.test_verify_logs import failures, tamper
from tests.integration.orders.test_orders_transactions import (
    SHOP,
    accounts_in_different_shards,
    pay,
    renewal,
    word,
)

CHECK = "orders: claims on transactions"
ONE, TWO = accounts_in_different_shards()
TAMPERINGS = {
    "the claim of a charge is lost": "DELETE FROM gateway_transaction WHERE gateway = 'sandbox'",
    "the claim of a confirmation is lost": "DELETE FROM gateway_transaction WHERE gateway = 'app'",
    "a claim names another order": (
        "UPDATE gateway_transaction SET stream_id = 'order/b' WHERE gateway_txn_id = 'txn-a'"
    ),
    "a claim names another transaction": (
        "UPDATE gateway_transaction SET gateway_txn_id = 'txn-z' WHERE gateway_txn_id = 'txn-a'"
    ),
    "an order claims what nobody confirmed for it": (
        "INSERT INTO gateway_transaction VALUES ('app', 'txn-of-a-victim', 'order/b')"
    ),
    "an order that is none claims": (
        "INSERT INTO gateway_transaction VALUES ('app', 'txn-of-a-victim', 'order/none')"
    ),
}


def claims(system: System) -> dict[tuple[str, str], str]:
    rows = system.query("orders", "SELECT * FROM gateway_transaction")
    return {(row["gateway"], row["gateway_txn_id"]): row["stream_id"] for row in rows}


def start(system: System) -> None:
    system.start(
        "orders",
        TRUST_CONFIRMATIONS_OF=SHOP,
        UNKNOWN_LOOK_UP_SECONDS="0.3",
        UNKNOWN_SETTLE_SECONDS="1",
    )


def play(system: System) -> None:
    """Have orders paid by charge, by a confirmation that was looked up, and by one alone."""
    start(system)
    names = {"a": ONE, "b": TWO, "c": ONE, "d": TWO}
    system.publish("RenewalRequested", *(renewal(who, name) for name, who in names.items()))
    system.wait_for("accepted", lambda: len(system.events("orders", "RenewalAccepted")) == 4)


def pay_all(system: System) -> None:
    pay(system, "txn-a", "order/a")
    system.publish("RenewalRequested", card_renewal(1, "charged", token="tok_ok"))
    system.publish("PaymentConfirmed", word(ONE, "a", "app", "txn-a"), word(ONE, "c", SHOP, "slip"))
    system.wait_for("paid", lambda: len(system.events("orders", "PaymentCaptured")) == 3)


def refusals(system: System, count: int) -> list[str]:
    found = system.wait_for(
        f"{count} are refused",
        lambda: (
            refused
            if len(refused := system.events("orders", "PaymentConfirmationRefused")) == count
            else None
        ),
    )
    return sorted(f"{each['renewal_id']} {each['reason']}" for each in found)


def test_verify_finds_each_claim_that_does_not_fit_the_log(system: System) -> None:
    play(system)
    pay_all(system)
    assert system.children["orders"].stop() == 0
    assert failures(system) == {}
    before = claims(system)
    assert len(before) == 3

    wrong = {}
    for name, statement in TAMPERINGS.items():
        tamper(system, "orders", statement)
        found = failures(system, "--service", "orders")
        if set(found) != {CHECK}:
            wrong[name] = found
        tamper(system, "orders", "TRUNCATE gateway_transaction", *map(inserted, before.items()))
    assert wrong == {}
    assert failures(system) == {}


def inserted(claim: tuple[tuple[str, str], str]) -> str:
    (gateway, txn), stream_id = claim
    return f"INSERT INTO gateway_transaction VALUES ('{gateway}', '{txn}', '{stream_id}')"


def test_lost_claims_are_made_anew_and_forbid_a_second_order(system: System) -> None:
    play(system)
    pay_all(system)
    running = perennial(system, "recover", "claims", "--yes")
    assert (running.returncode, "orders is running" in running.stderr) == (2, True)
    assert system.children["orders"].stop() == 0
    before = claims(system)
    tamper(system, "orders", "TRUNCATE gateway_transaction")

    assert "3 transactions of orders would be claimed again" in recover(system, "claims")
    assert claims(system) == {}
    assert "3 transactions of orders are claimed again" in recover(system, "claims", "--yes")

    assert claims(system) == before
    a_slip_that_served_pays_no_second_order(system)


def test_a_claim_of_a_wrong_order_is_named_and_stays(system: System) -> None:
    play(system)
    pay_all(system)
    assert system.children["orders"].stop() == 0
    tamper(system, "orders", TAMPERINGS["a claim names another order"])

    refused = perennial(system, "recover", "claims", "--yes")

    assert refused.returncode == 1
    assert "txn-a of app, captured for order/a at shard" in refused.stderr
    assert "is claimed by order/b" in refused.stderr
    assert claims(system)["app", "txn-a"] == "order/b"
    tamper(system, "orders", "DELETE FROM gateway_transaction WHERE gateway_txn_id = 'txn-a'")
    assert "1 transaction of orders" in recover(system, "claims", "--yes")
    assert failures(system) == {}


def test_a_log_that_is_taken_back_from_its_topic_claims_what_it_captured(
    system: System, tmp_path: Path
) -> None:
    play(system)
    saved = tmp_path / "saved.dump"
    dump(system, saved)
    pay_all(system)
    before = claims(system)
    published(system, lambda names: names.count("PaymentCaptured") == 3)
    assert system.children["orders"].stop() == 0

    restore(system, saved)
    assert claims(system) == {}
    recover(system, "adopt", "orders", "--yes")

    assert claims(system) == before
    assert failures(system, "--service", "orders") == {}
    a_slip_that_served_pays_no_second_order(system)


def published(system: System, done: Callable[[list[str]], bool]) -> None:
    def found() -> bool:
        return done([name for name, _ in system.published("billing.orders.v1")])

    system.wait_for("it is published", found)


def a_slip_that_served_pays_no_second_order(system: System) -> None:
    """Say of each transaction that it paid another order, in another shard."""
    captured = len(system.events("orders", "PaymentCaptured"))
    start(system)
    system.publish(
        "PaymentConfirmed",
        word(TWO, "b", "app", "txn-a"),
        word(TWO, "d", SHOP, "slip"),
        prefix="again",
    )
    assert refusals(system, 2) == ["b another_reference", "d already_used"]
    assert len(system.events("orders", "PaymentCaptured")) == captured
    assert system.children["orders"].stop() == 0
    assert failures(system, "--service", "orders") == {}


def test_a_person_settles_one_order_by_one_transaction_in_whatever_shard(system: System) -> None:
    system.start(
        "orders", SANDBOX_TIMEOUT_SECONDS=0.2, UNKNOWN_LOOK_UP_SECONDS=3_600,
        UNKNOWN_LOOK_UP_SECONDS_MAX=3_600,
    )  # fmt: skip
    lost = {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_timeout_before"}
    asked = [renewal(who, name) | {"payment": lost} for name, who in (("a", ONE), ("b", TWO))]
    system.publish("RenewalRequested", *asked)
    system.wait_for("unknown", lambda: len(system.events("orders", "PaymentOutcomeUnknown")) == 2)
    rows = system.query("orders", "SELECT effect_id FROM effect WHERE kind = 'charge' ORDER BY 1")
    first, second = (row["effect_id"] for row in rows)

    def settle(effect_id: str, gateway: str, txn: str) -> str:
        return perennial(
            system, "effects", "settle", effect_id, "--by", "li.wei", "--reason", "by phone",
            "--outcome", "captured", "--gateway", gateway, "--reference", txn,
        ).stdout  # fmt: skip

    assert "the gateway knows no such transaction" in settle(first, "app", "txn-none")
    pay(system, "txn-of-another", "order/of-a-victim")
    assert "for another payment" in settle(first, "app", "txn-of-another")
    assert "applied (PaymentOutcomeResolved, PaymentCaptured)" in settle(first, SHOP, "slip")
    told = settle(second, SHOP, "slip")
    assert "refused (transaction slip of silent-bank serves order/" in told, told
    assert "applied (PaymentOutcomeResolved, PaymentCaptured)" in settle(second, SHOP, "slip-2")
    assert sorted(claims(system)) == [(SHOP, "slip"), (SHOP, "slip-2")]
    assert all(each["unverified"] for each in system.events("orders", "PaymentCaptured"))
    assert failures(system, "--service", "orders") == {}

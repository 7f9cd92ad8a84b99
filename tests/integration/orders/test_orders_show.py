"""`perennial orders show`: an order, and the other requests that bore its id."""

from __future__ import annotations

import json

from schemas.topics import Source
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System
from tests.integration.operation.test_operator_commands import perennial


def test_refusals_of_other_requests_with_its_id_are_shown_with_who_sent_them(
    system: System,
) -> None:
    first = card_renewal(1, "shown", token="tok_ok", ending="0000")
    renewal_id = first["renewal_id"]
    others = [first | {"quantity": 2}, first | {"account_id": "acct-other", "quantity": 3}]
    with_another_end = [first | {"renewal_id": f"{renewal_id}{end}"} for end in ("-b", "0")]
    system.start("orders")
    system.publish("RenewalRequested", first)
    system.wait_for("the order", lambda: system.events("orders", "RenewalAccepted"))
    system.publish("RenewalRequested", *others, *with_another_end)
    system.wait_for("its end", lambda: len(system.events("orders", "PlanActivated")) == 3)
    system.wait_for("refusals", lambda: len(system.events("orders", "RenewalRejected")) == 2)
    asked = perennial(system, "orders", "show", renewal_id, "--json")
    assert asked.returncode == 0, asked.stderr
    shown = json.loads(asked.stdout)
    own = [row for row in shown if row["correlation_id"] == renewal_id]
    refused = [row for row in shown if row not in own]
    assert {row["account_id"] for row in own} == {first["account_id"]}
    assert "billing.PlanActivated.v1" in {row["type"] for row in own}
    assert {row["account_id"] for row in refused} == {first["account_id"], "acct-other"}
    assert {row["data"]["reason"] for row in refused} == {"renewal_id_reused"}
    rows = system.query(
        "orders",
        "SELECT correlation_id, causation_id FROM event WHERE source = $1 AND correlation_id <> $2"
        " AND type = 'billing.RenewalRejected.v1'",
        Source.ORDERS.value,
        renewal_id,
    )
    assert [row["correlation_id"] for row in rows] == [str(row["causation_id"]) for row in rows]
    assert {row["correlation_id"] for row in refused} == {row["correlation_id"] for row in rows}
    table = perennial(system, "orders", "show", renewal_id)
    assert f"{renewal_id} of {first['account_id']}, from " in table.stdout
    assert "another request, of acct-other from /upstream/" in table.stdout


def test_history_of_an_account_shows_what_it_ordered_and_nobody_else_s(system: System) -> None:
    mine = card_renewal(1, "mine", token="tok_ok", ending="0000")
    declined = card_renewal(1, "declined", token="tok_bank_limit", ending="0000")
    theirs = card_renewal(2, "theirs", token="tok_ok", ending="0000") | {"account_id": "acct-other"}
    declined["account_id"] = mine["account_id"]
    system.start("orders")
    system.publish("RenewalRequested", mine, declined, theirs)
    system.wait_for("their ends", lambda: len(system.events("orders", "PlanActivated")) == 2)
    system.wait_for("the refusal", lambda: system.events("orders", "PaymentFailed"))
    asked = perennial(system, "customers", "history", mine["account_id"], "--json")
    assert asked.returncode == 0, asked.stderr
    shown = {row["order_id"]: row for row in json.loads(asked.stdout)}
    assert shown.keys() == {mine["renewal_id"], declined["renewal_id"]}
    active = shown[mine["renewal_id"]]
    assert (active["status"], active["receipt"]) == ("active", mine["renewal_id"])
    assert active["amount"]["amount_minor"] > 0
    failed = shown[declined["renewal_id"]]
    assert (failed["status"], failed["reason"], failed["receipt"]) == (
        "payment_failed",
        "bank_limit",
        None,
    )
    assert (
        mine["renewal_id"] in perennial(system, "customers", "history", mine["account_id"]).stdout
    )
    nobody = perennial(system, "customers", "history", "acct-nobody")
    assert nobody.returncode == 1
    assert "knows nothing of acct-nobody" in nobody.stderr

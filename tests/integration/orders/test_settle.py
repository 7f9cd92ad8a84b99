"""`perennial effects settle` for every kind of effect, against running services."""

from __future__ import annotations

import json
from subprocess import CompletedProcess
from typing import Any

import pytest

from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System
from tests.integration.operation.test_operator_commands import perennial

NEVER_ACTIVATED, REFUSED = "9007", "9001"
BY = ("--by", "li.wei", "--reason", "their people on the phone")
WHO = ("li.wei", "their people on the phone")
ONE_ACTIVATION: dict[str, Any] = {
    "ACTIVATION_RETRY_SECONDS": 3_600,
    "ACTIVATION_RETRY_SECONDS_MAX": 3_600,
}
ONE_EMAIL: dict[str, Any] = {"RETRY_SECONDS": 3_600, "RETRY_SECONDS_MAX": 3_600}


def settle(system: System, effect_id: str, *how: str) -> CompletedProcess[str]:
    service = "notifier" if effect_id.startswith("email/") else "orders"
    return perennial(system, "effects", "settle", effect_id, "-s", service, *BY, *how)


def waiting(system: System, kind: str, service: str = "orders", count: int = 1) -> list[str]:
    """Return the effects of one kind that were tried and wait for their next attempt."""

    def found() -> list[str] | None:
        shown = perennial(system, "effects", "list", "--json", "-s", service)
        rows: list[dict[str, Any]] = json.loads(shown.stdout)
        ids = [row["effect_id"] for row in rows if row["kind"] == kind and row["attempts"]]
        return ids if len(ids) == count else None

    return system.wait_for(f"{count} {kind} wait", found)


def journal(system: System, name: str, kind: str) -> int:
    lines = (system.folder / "sandbox" / name).read_text().splitlines()
    return sum(json.loads(line)["kind"] == kind for line in lines)


def who(event: dict[str, Any]) -> tuple[str, str]:
    return event["settled_by"], event["settlement_reason"]


def test_activations_are_settled_and_the_provider_is_not_asked_again(system: System) -> None:
    system.start("orders", **ONE_ACTIVATION)
    renewals = [card_renewal(n, "stuck", token="tok_ok", ending=NEVER_ACTIVATED) for n in (1, 2)]
    system.publish("RenewalRequested", *renewals)
    found, lost = waiting(system, "activate", count=2)

    wrong = settle(system, found, "--outcome", "captured")
    alone = settle(system, found, "--outcome", "activated", "--reference", "order-7")
    active = settle(
        system, found, "--outcome", "activated", "--provider", "sandbox", "--reference", "order-7",
        "--at", "2026-11-20T09:00:00Z",
    )  # fmt: skip
    failed = settle(system, lost, "--outcome", "not_activated")

    assert (wrong.returncode, alone.returncode) == (1, 1)
    assert "refused (the outcome of an activation is activated or not_activated)" in wrong.stdout
    assert "activated needs --provider and --reference" in alone.stdout
    assert "applied (PlanActivated)" in active.stdout, active.stdout + active.stderr
    assert "applied (ActivationFailed)" in failed.stdout, failed.stdout + failed.stderr
    system.wait_for("the refund", lambda: system.events("orders", "RefundCompleted"))
    (plan,) = system.events("orders", "PlanActivated")
    (failure,) = system.events("orders", "ActivationFailed")
    assert who(plan) == who(failure) == WHO
    assert (plan["provider_order_ref"], plan["valid_from"][:16]) == ("order-7", "2026-11-20T09:00")
    assert system.query("orders", "SELECT 1 FROM effect") == []
    assert journal(system, PROVIDER_JOURNAL, "activation") == 0
    assert journal(system, GATEWAY_JOURNAL, "refund") == 1


def test_refunds_are_settled_and_not_made_twice(system: System) -> None:
    system.start_mail_sink()
    system.start("ledger")
    system.start("orders", REFUND_RETRY_SECONDS=3_600, REFUND_RETRY_SECONDS_MAX=3_600)
    renewals = [card_renewal(n, "refund", token="tok_refund_down", ending=REFUSED) for n in (1, 2)]
    system.publish("RenewalRequested", *renewals)
    made, owed = waiting(system, "refund", count=2)
    refunded = ("--outcome", "refunded", "--gateway", "bank", "--reference", "transfer-9")

    done = settle(system, made, *refunded)
    failed = settle(system, owed, "--outcome", "not_refunded")
    held = perennial(system, "effects", "list", "--held", "--json")
    later = settle(system, owed, *refunded)

    assert "applied (RefundCompleted)" in done.stdout, done.stdout + done.stderr
    assert "applied (RefundFailed)" in failed.stdout, failed.stdout + failed.stderr
    assert [(r["effect_id"], r["state"]) for r in json.loads(held.stdout)] == [(owed, "held")]
    assert "applied (RefundCompleted)" in later.stdout, later.stdout + later.stderr
    (failure,) = system.events("orders", "RefundFailed")
    assert [who(e) for e in (failure, *system.events("orders", "RefundCompleted"))] == [WHO] * 3
    assert system.query("orders", "SELECT 1 FROM effect") == []
    assert journal(system, GATEWAY_JOURNAL, "refund") == 0
    # Each renewal: accepted, captured, activation failed, refunded; one refund failed before.
    system.wait_for(
        "the ledger has all",
        lambda: system.query("ledger", "SELECT 1 FROM event HAVING count(*) >= 9"),
    )
    verified = perennial(system, "ledger", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_order_that_nobody_pays_is_closed_before_its_time(system: System) -> None:
    system.start("orders")
    renewal = card_renewal(1, "unpaid")
    renewal["payment"] = {"method": "card", "mode": "await_confirmation", "currency": "USD"}
    system.publish("RenewalRequested", renewal)
    system.wait_for("it waits", lambda: system.query("orders", "SELECT 1 FROM effect"))

    closed = settle(system, "expire/order/rnw-0001-unpaid", "--outcome", "expired")

    assert "applied (OrderExpired)" in closed.stdout, closed.stdout + closed.stderr
    (expired,) = system.events("orders", "OrderExpired")
    assert who(expired) == WHO
    assert system.query("orders", "SELECT 1 FROM effect") == []


def test_emails_are_settled_and_not_sent(system: System) -> None:
    system.start("orders")
    system.start("notifier", **ONE_EMAIL)  # and no mail server
    renewals = [card_renewal(n, "mail", token="tok_ok", ending="0000") for n in (1, 2)]
    system.publish("RenewalRequested", *renewals)
    seen, unsent = waiting(system, "email", "notifier", count=2)

    wrong = settle(system, seen, "--outcome", "activated")
    sent = settle(system, seen, "--outcome", "sent", "--reference", "4Qm1")
    failed = settle(system, unsent, "--outcome", "not_sent")
    again = settle(system, unsent, "--outcome", "not_sent")

    assert "refused (the outcome of an email is sent or not_sent)" in wrong.stdout
    assert "applied (NotificationSent)" in sent.stdout, sent.stdout + sent.stderr
    assert "applied (NotificationFailed)" in failed.stdout, failed.stdout + failed.stderr
    assert "no such effect" in again.stdout
    (told,) = system.events("notifier", "NotificationSent")
    (untold,) = system.events("notifier", "NotificationFailed")
    assert who(told) == who(untold) == WHO
    assert (told["message_id"], untold["reason"]) == ("4Qm1", "deadline_passed")
    names = [name for name, _ in system.published("billing.notifications.v1")]
    assert sorted(names) == ["NotificationFailed", "NotificationSent"]


def test_running_effect_is_left_to_its_worker_and_settled_after_the_attempt(
    system: System,
) -> None:
    system.start("orders", SANDBOX_TIMEOUT_SECONDS=5, **ONE_ACTIVATION)
    renewal = card_renewal(1, "busy", token="tok_ok", ending="9004")
    system.publish("RenewalRequested", renewal)
    effect_id = system.wait_for("it is running", lambda: running(system))

    answer = settle(system, effect_id, "--outcome", "not_activated")

    # The first attempt ended without an answer; the person's word came after it.
    assert "applied (ActivationFailed)" in answer.stdout, answer.stdout + answer.stderr
    assert system.events("orders", "PlanActivated") == []


def running(system: System) -> str | None:
    shown = perennial(system, "effects", "list", "--json")
    rows = [r for r in json.loads(shown.stdout) if r["kind"] == "activate"]
    return rows[0]["effect_id"] if rows and rows[0]["state"] == "running" else None


@pytest.mark.parametrize("by", ["li wei", "li.wei@example.com"])
def test_who_settles_is_a_login(system: System, by: str) -> None:
    refused = perennial(
        system, "effects", "settle", "charge/x", "--outcome", "not_charged", "--by", by,
        "--reason", "seen",
    )  # fmt: skip
    assert refused.returncode == 2
    assert "--by" in refused.stderr
    assert by not in refused.stderr

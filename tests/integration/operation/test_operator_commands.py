"""`perennial status` and `perennial effects` against running services: what a person sees and does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from schemas.topics import REQUESTS
from tests.faults.records.test_lost_records import with_admin
from tests.faults.requests import card_renewal
from tests.infrastructure.system import SHARDS, System

SETTINGS: dict[str, Any] = {
    "SANDBOX_TIMEOUT_SECONDS": 0.2,
    "UNKNOWN_LOOK_UP_SECONDS": 3_600,
    "UNKNOWN_LOOK_UP_SECONDS_MAX": 3_600,
}
"""An unknown outcome stays so: the gateway is looked up an hour later."""
TOKEN = "tok_timeout_after"


def perennial(system: System, *arguments: str, **http: str) -> subprocess.CompletedProcess[str]:
    """Run the command line against `system`."""
    services = {f"PERENNIAL_{s.upper()}_POSTGRES_DSN": system.dsn(s) for s in ("orders", "ledger")}
    environment = os.environ | services | http | {
        "PERENNIAL_NOTIFIER_POSTGRES_DSN": system.dsn("notifier"),
        "PERENNIAL_BOOTSTRAP_SERVERS": system.infrastructure.bootstrap_servers,
        "PERENNIAL_STATE_FOLDER": str(system.folder / "none"),
        "COLUMNS": "200",
    }  # fmt: skip
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=90
    )


def unknown_payments(system: System, count: int) -> list[dict[str, Any]]:
    """Return the effects of renewals whose charge got no answer."""
    renewals = [card_renewal(n, "lost", token=TOKEN, ending="0000") for n in range(count)]
    system.publish("RenewalRequested", *renewals)
    system.wait_for(
        "all are unknown", lambda: len(system.events("orders", "PaymentOutcomeUnknown")) == count
    )
    shown = perennial(system, "effects", "list", "--json")
    assert shown.returncode == 0, shown.stderr
    listed: list[dict[str, Any]] = json.loads(shown.stdout)
    assert [row["kind"] for row in listed] == ["charge"] * count
    assert {row["state"] for row in listed} <= {"retrying", "due"}
    return listed


def settle(system: System, effect_id: str, *how: str) -> subprocess.CompletedProcess[str]:
    return perennial(
        system, "effects", "settle", effect_id, "--by", "li.wei", "--reason", "statement of 3 May",
        *how,
    )  # fmt: skip


def test_person_settles_unknown_payments_and_the_log_says_who_and_why(system: System) -> None:
    system.start("orders", **SETTINGS)
    taken, untaken, retried = (row["effect_id"] for row in unknown_payments(system, 3))

    captured = settle(
        system, taken, "--outcome", "captured", "--gateway", "silent-bank", "--reference", "txn-7"
    )
    failed = settle(system, untaken, "--outcome", "not_charged")
    again = settle(system, untaken, "--outcome", "not_charged")
    refused = settle(system, retried, "--outcome", "captured")
    due = perennial(system, "effects", "retry", retried)

    assert (captured.returncode, failed.returncode) == (0, 0), captured.stderr + failed.stderr
    assert "applied (PaymentOutcomeResolved, PaymentCaptured)" in captured.stdout
    assert "applied (PaymentOutcomeResolved, PaymentFailed)" in failed.stdout
    assert again.returncode == 1
    assert "payment_outcome_not_unknown" in again.stdout
    assert refused.returncode == 1
    assert "captured needs --gateway and --reference" in refused.stdout
    assert due.returncode == 0
    activated = system.wait_for(
        "two are activated",
        lambda: found if len(found := system.events("orders", "PlanActivated")) == 2 else None,
    )
    resolved = {e["payment_id"]: e for e in system.events("orders", "PaymentOutcomeResolved")}
    settled = resolved[taken.removeprefix("charge/")]
    assert (settled["outcome"], settled["settled_by"]) == ("captured", "li.wei")
    assert settled["settlement_reason"] == "statement of 3 May"
    assert resolved[untaken.removeprefix("charge/")]["outcome"] == "not_charged"
    assert "settled_by" not in resolved[retried.removeprefix("charge/")]
    assert {e["payment_id"] for e in activated} == {
        effect.removeprefix("charge/") for effect in (taken, retried)
    }
    names = [name for name, _ in system.published("billing.orders.v1")]
    assert names.count("PaymentOutcomeResolved") == 3


def test_effect_that_is_held_or_gone_is_not_run(system: System) -> None:
    system.start("orders", **SETTINGS)
    unknown_payments(system, 1)
    rows = json.loads(perennial(system, "effects", "list", "--held", "--json").stdout)
    (held,) = [row["effect_id"] for row in rows if row["state"] == "held"]

    refused = perennial(system, "effects", "retry", held)
    gone = perennial(system, "effects", "retry", "charge/none")

    assert refused.returncode == gone.returncode == 1
    assert "held for something else" in refused.stderr
    assert "no such effect" in gone.stderr
    assert system.events("orders", "PlanActivated") == []


def test_list_of_effects_shows_no_token_and_no_iccid(system: System) -> None:
    system.start("orders", **SETTINGS | {"SANDBOX_TIMEOUT_SECONDS": 300})
    renewal = card_renewal(1, "lost", token=TOKEN, ending="0000")
    system.publish("RenewalRequested", renewal)
    system.wait_for("it is asked", lambda: system.query("orders", "SELECT 1 FROM effect"))

    shown = perennial(system, "effects", "list", "--held")

    assert "rnw-0001-lost" in shown.stdout
    assert TOKEN not in shown.stdout
    assert renewal["iccid"] not in shown.stdout


def test_status_tells_well_from_trouble_and_from_no_answer(system: System) -> None:
    system.start_all()
    http = {
        f"PERENNIAL_{s.upper()}_HTTP": system.address(s) for s in ("orders", "ledger", "notifier")
    }

    well = perennial(system, "status", "--digest", **http)
    system.publish_raw((b"acct-1", b"{", []))
    system.wait_for("a dead letter", lambda: system.dead_letters("orders"))
    trouble = perennial(system, "status", "--json", **http)
    system.children["ledger"].kill()
    no_answer = perennial(system, "status", **http)

    assert well.returncode == 0, well.stdout + well.stderr
    assert "all is well" in well.stdout
    assert "replayed: sha256 " in well.stdout
    assert trouble.returncode == 1, trouble.stdout + trouble.stderr
    found = json.loads(trouble.stdout)
    assert found["services"]["orders"]["dead_letters"]
    ledger = found["services"]["ledger"]
    assert (ledger["ready"], ledger["lag"], len(ledger["partitions"])) == (True, 0, SHARDS)
    assert any("perennial dlq list --service orders" in text for text in found["problems"])
    assert no_answer.returncode == 3
    assert "no answer: ledger at" in no_answer.stdout


def test_status_counts_what_a_stopped_service_has_not_read(system: System) -> None:
    system.publish("RenewalRequested", *(card_renewal(n, "late") for n in range(5)))

    lenient = perennial(system, "status", "--json")
    strict = perennial(system, "status", "--lag-max", "4")

    assert lenient.returncode == 0, lenient.stdout + lenient.stderr
    assert json.loads(lenient.stdout)["services"]["orders"]["lag"] == 5
    assert strict.returncode == 1
    assert "orders is behind by 5 records" in strict.stdout


@pytest.mark.parametrize(
    ("cursor", "told"), [(210, "is soon deleted"), (300, None), (100, "records were lost")]
)
def test_status_warns_before_unread_records_are_deleted(
    system: System, cursor: int, told: str | None
) -> None:
    system.publish_raw(*[(b"acct-1", b"{}", [])] * 400, partition=0)
    with_admin(
        system,
        lambda admin: admin.delete_records(
            {TopicPartition(REQUESTS.name, 0): RecordsToDelete(before_offset=200)}
        ),
    )
    for service in REQUESTS.groups:
        system.query(
            service, "INSERT INTO cursor VALUES ($1, 0, $2)", REQUESTS.name, max(cursor, 300)
        )
    system.query("orders", "UPDATE cursor SET next_offset = $1", cursor)

    shown = perennial(system, "status", "--json")

    problems = json.loads(shown.stdout)["problems"]
    assert [problem for problem in problems if told and told in problem] == problems
    assert len(problems) == (1 if told else 0)
    assert shown.returncode == (1 if told else 0)

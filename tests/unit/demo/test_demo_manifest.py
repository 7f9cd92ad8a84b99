from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import generate
from deploy.demo.publish import MANIFEST_FILE, load_records
from schemas.orders import (
    ActivationFailureReason,
    DeclineReason,
    RejectionReason,
    TopUpRejectionReason,
)
from schemas.surplus import SurplusReason

Nested = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MANIFEST_FILE.read_text(encoding="utf-8"))
    return content


def _flat(nested: Nested) -> Counter[tuple[str, str]]:
    return Counter({(outer, inner): n for outer, row in nested.items() for inner, n in row.items()})


def _sum(nested_by_phase: Iterable[Nested]) -> Counter[tuple[str, str]]:
    return sum((_flat(nested) for nested in nested_by_phase), Counter())


def test_committed_files_are_what_the_generator_writes() -> None:
    assert generate.main(["--check"]) == 0


def test_check_names_a_file_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "requests.jsonl"
    stale.write_text("old\n", encoding="utf-8")
    monkeypatch.setattr(generate, "REQUESTS_FILE", stale)

    assert generate.main(["--check"]) == 1

    assert "requests.jsonl is not up to date" in capsys.readouterr().out
    assert stale.read_text(encoding="utf-8") == "old\n"


def test_demo_is_as_large_as_promised(manifest: dict[str, Any]) -> None:
    sent = manifest["sent"]

    assert sent["requests"] >= 2_000
    assert sent["accounts"] >= 500
    assert len(sent["locales"]) == 3
    assert len(sent["currencies"]) == 5


def test_manifest_counts_the_records_of_the_file(manifest: dict[str, Any]) -> None:
    phases = Counter(str(record.phase) for record in load_records())

    assert manifest["sent"]["requests"] == phases.total()
    assert manifest["sent"]["requests_by_phase"] == phases


def test_phases_add_up_to_the_totals(manifest: dict[str, Any]) -> None:
    assert _sum(manifest["outcomes_by_phase"].values()) == _flat(manifest["outcomes"])
    assert _sum(manifest["dead_letters_by_phase"].values()) == _flat(manifest["dead_letters"])


def test_every_message_is_a_notification_of_its_template(manifest: dict[str, Any]) -> None:
    told: dict[str, Counter[str]] = {"email": Counter(), "sms": Counter()}
    for name, row in manifest["messages"].items():
        template, _, channel = name.partition(" by ")
        told[channel][template] = sum(row.values())
        assert channel == "sms" or len(row) == 3

    assert told["email"] + told["sms"] == manifest["outcomes"]["NotificationSent"]
    assert told["sms"] == manifest["outcomes"]["NotificationDelivered"]
    assert told["sms"].total() >= 50
    assert set(told["sms"]) >= {"renewal_confirmed", "payment_failed", "top_up_confirmed"}


def test_every_accepted_order_ends_once(manifest: dict[str, Any]) -> None:
    seen = {name: sum(row.values()) for name, row in manifest["outcomes"].items()}
    assert seen["RenewalAccepted"] + seen["TopUpAccepted"] == (
        seen["PlanActivated"]
        + seen["RefundCompleted"]
        + seen["WalletToppedUp"]
        + seen["PaymentFailed"]
        + seen["OrderExpired"]
    )
    assert seen["PaymentCaptured"] == (
        seen["PlanActivated"] + seen["ActivationFailed"] + seen["WalletToppedUp"]
    )
    assert seen["ActivationFailed"] == seen["RefundCompleted"]
    assert seen["SurplusCaptured"] == seen["SurplusReturned"] + seen["SurplusCredited"]
    assert seen["WalletChargeRequested"] == seen["WalletCharged"] + seen["WalletChargeRefused"]
    assert seen["PaymentOutcomeUnknown"] == seen["PaymentOutcomeResolved"]


def test_accepted_orders_of_all_accounts_are_those_of_the_events(manifest: dict[str, Any]) -> None:
    seen = {name: sum(row.values()) for name, row in manifest["outcomes"].items()}
    accepted = seen["RenewalAccepted"] + seen["TopUpAccepted"]
    assert sum(manifest["orders"].values()) == accepted


def test_books_balance_in_every_currency(manifest: dict[str, Any]) -> None:
    assert set(manifest["trial_balance"]) == set(manifest["sent"]["currencies"])
    for balances in manifest["trial_balance"].values():
        assert sum(balances.values()) == 0
        assert balances.get("Liabilities:Refunds:Payable", 0) == 0


def test_wallets_add_up_to_what_the_books_owe_their_owners(manifest: dict[str, Any]) -> None:
    owed: Counter[tuple[str, str]] = Counter()
    for wallet in manifest["wallets"].values():
        owed[wallet["currency"], "Liabilities:Wallet:Paid"] -= wallet["paid"]
        owed[wallet["currency"], "Liabilities:Wallet:Bonus"] -= wallet["bonus"]
        owed[wallet["currency"], "Liabilities:Wallet:BonusOffset"] += wallet["bonus"]

    booked = {
        key: amount
        for key, amount in _flat(manifest["trial_balance"]).items()
        if key[1].startswith("Liabilities:Wallet:")
    }
    assert {key: amount for key, amount in owed.items() if amount} == booked


def test_every_reason_for_a_bad_end_occurs(manifest: dict[str, Any]) -> None:
    outcomes = manifest["outcomes"]
    not_by_a_gateway = {DeclineReason.BELOW_MINIMUM_TOP_UP}

    assert set(outcomes["PaymentFailed"]) == set(DeclineReason) - not_by_a_gateway
    nothing_costs_that_much = {RejectionReason.ABOVE_MAXIMUM}
    assert set(outcomes["RenewalRejected"]) == set(RejectionReason) - nothing_costs_that_much
    assert set(outcomes["TopUpRejected"]) == set(TopUpRejectionReason)
    now_a_surplus = {ActivationFailureReason.ORDER_EXPIRED}
    assert set(outcomes["ActivationFailed"]) == set(ActivationFailureReason) - now_a_surplus
    while_it_is_charged = {SurplusReason.PAID_ANOTHER_WAY}
    assert set(outcomes["SurplusCaptured"]) == set(SurplusReason) - while_it_is_charged
    assert outcomes["WalletChargeRefused"]["insufficient_funds"] > 0
    assert outcomes["OrderExpired"][""] > 0
    assert outcomes["ActivationDelayed"][""] > 0

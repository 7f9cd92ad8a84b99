"""A price that a paid order refers to is gone: it waits until it is back, and no other does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT
from tests.faults.requests import account, by_card, card_renewal, contact
from tests.infrastructure.system import System
from tests.integration.operation.test_operator_commands import perennial

SETTINGS: dict[str, Any] = {
    "EFFECT_LEASE_SECONDS": 2,
    "SANDBOX_TIMEOUT_SECONDS": 30,
    "STOP_TIMEOUT_SECONDS": 3,
}


def test_lost_rule_keeps_one_payment_aside_until_it_is_back(system: System, tmp_path: Path) -> None:
    lost = tmp_path / "catalogue.toml"
    kept = CATALOGUE_DEFAULT.read_text(encoding="utf-8")
    lost.write_text(
        kept.replace('rule_id = "top-up-usd"', 'rule_id = "top-up-dollars"'), encoding="utf-8"
    )
    system.start("orders", **SETTINGS)
    system.publish(
        "TopUpRequested",
        {
            "account_id": account(1),
            "topup_id": "top-1",
            "amount": {"amount_minor": 5_000, "currency": "USD"},
            "payment": by_card("tok_timeout_after"),
            "contact": contact(1),
            "requested_at": "2026-11-20T08:00:00Z",
        },
    )
    system.wait_for("it is accepted", lambda: system.events("orders", "TopUpAccepted"))
    system.children["orders"].kill()

    child = system.start("orders", CATALOGUE=lost, **SETTINGS)

    [aside] = system.wait_for(
        "its payment is kept aside",
        lambda: system.query("orders", "SELECT effect_id, trouble FROM effect WHERE trouble <> ''"),
    )
    assert "top-up-usd: put it back, then start again" in aside["trouble"]
    assert system.events("orders", "WalletToppedUp") == []
    system.publish("RenewalRequested", card_renewal(2, "other", token="tok_ok", ending="0000"))
    system.wait_for("others go on", lambda: system.events("orders", "PlanActivated"))
    child.kill()

    system.start("orders", **SETTINGS)
    retried = perennial(system, "effects", "retry", aside["effect_id"])
    assert retried.returncode == 0, retried.stderr
    system.wait_for("it is credited", lambda: system.events("orders", "WalletToppedUp"))

"""A price that a paid order refers to is gone: orders stops, and goes on when it is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.orders.settings import CATALOGUE_DEFAULT
from tests.faults.requests import account, by_card, contact
from tests.infrastructure.system import System

HALTED = 70
SETTINGS: dict[str, Any] = {
    "EFFECT_LEASE_SECONDS": 2,
    "SANDBOX_TIMEOUT_SECONDS": 30,
    "STOP_TIMEOUT_SECONDS": 3,
}


def test_lost_rule_halts_orders_until_it_is_back(system: System, tmp_path: Path) -> None:
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

    child = system.start("orders", wait=False, CATALOGUE=lost, **SETTINGS)

    assert child.popen.wait(60) == HALTED
    last = json.loads(child.log.read_text().splitlines()[-1])
    assert (last["event"], last["service"]) == ("halted", "orders")
    assert "top-up-usd: put it back, then start again" in last["error"]
    assert system.events("orders", "WalletToppedUp") == []

    system.start("orders", **SETTINGS)
    system.wait_for("it is credited", lambda: system.events("orders", "WalletToppedUp"))

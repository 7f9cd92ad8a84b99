"""`perennial sandbox` against running orders: the order is paid once, by what the sandbox holds."""

from __future__ import annotations

from subprocess import CompletedProcess

from services.orders.sandbox_journal import GATEWAY_JOURNAL
from tests.faults.recovery.recovery import perennial
from tests.infrastructure.system import System
from tests.integration.orders.test_orders_transactions import renewal


def pay(system: System, order_id: str, *options: str) -> CompletedProcess[str]:
    folder = str(system.folder / "sandbox")
    return perennial(system, "sandbox", "pay", order_id, "--journal-folder", folder, *options)


def captured(system: System, count: int) -> list[tuple[str, int]]:
    def found() -> list[tuple[str, int]] | None:
        events = system.events("orders", "PaymentCaptured")
        told = [
            (each.get("renewal_id") or each["topup_id"], each["amount"]["amount_minor"])
            for each in events
        ]
        return sorted(told) if len(told) == count else None

    return system.wait_for(f"{count} captured", found)


def test_orders_are_paid_once_by_their_customers(system: System) -> None:
    system.start("orders", UNKNOWN_LOOK_UP_SECONDS="0.3")
    top_up = {
        "account_id": "acct-1",
        "topup_id": "top-1",
        "amount": {"amount_minor": 5_000, "currency": "EUR"},
        "payment": {"method": "paypal", "mode": "await_confirmation", "currency": "EUR"},
        "requested_at": "2026-11-20T08:00:00Z",
    }
    system.publish("RenewalRequested", *(renewal("acct-1", name) for name in "abc"))
    system.publish("TopUpRequested", top_up)
    system.wait_for("accepted", lambda: system.events("orders", "TopUpAccepted"))
    system.wait_for("accepted", lambda: len(system.events("orders", "RenewalAccepted")) == 3)

    paid = pay(system, "a")
    assert paid.returncode == 0, paid.stdout + paid.stderr
    assert paid.stdout.startswith("app holds 21.20 USD of order/a as app-")
    assert "is sent" in pay(system, "top-1").stdout
    assert captured(system, 2) == [("a", 2120), ("top-1", 5_000)]
    assert pay(system, "a").returncode == 0
    assert "nobody is told" in pay(system, "b", "--no-hint").stdout
    assert pay(system, "c", "--amount-minor", "5", "--transaction", "t-5").returncode == 0

    assert captured(system, 3) == [("a", 2120), ("c", 5), ("top-1", 5_000)]
    system.wait_for("5 cents are owed", lambda: system.events("orders", "RefundInstructed"))
    assert perennial(system, "sandbox", "refund", "a").returncode == 1
    back = perennial(system, "sandbox", "refund", "c")
    assert back.stdout.startswith("app gave 0.05 USD of t-5 back"), back.stdout + back.stderr
    (refunded,) = system.wait_for(
        "5 cents go back", lambda: system.events("orders", "RefundCompleted")
    )
    assert refunded["gateway_refund_ref"].startswith("back-")
    assert '"kind":"refund"' not in (system.folder / "sandbox" / GATEWAY_JOURNAL).read_text()
    assert [each["renewal_id"] for each in system.events("orders", "PlanActivated")] == ["a"]
    wrong = pay(system, "b", "--gateway", "the bank")
    assert (wrong.returncode, "gateway must be letters" in wrong.stderr) == (2, True)
    lines = (system.folder / "sandbox" / GATEWAY_JOURNAL).read_text().splitlines()
    assert sum('"kind":"payment"' in line for line in lines) == 4
    assert system.dead_letters("orders") == []


def test_what_cannot_be_paid_is_named(system: System) -> None:
    (system.folder / "sandbox").mkdir()
    unknown = pay(system, "nobodys")
    assert unknown.returncode == 1
    assert "orders accepted no nobodys" in unknown.stderr
    assert not list((system.folder / "sandbox").iterdir())

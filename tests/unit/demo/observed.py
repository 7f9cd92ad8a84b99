"""What a good run of a small demo leaves behind, and its manifest; a test changes one thing of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.demo.expected.comparison import compare_outcomes
from deploy.demo.findings import find_balances, find_mails, find_sms, verified
from deploy.demo.result import DemoResult
from deploy.demo.tally import Tally

CARD, PLANS = "Assets:Gateway:Card", "Liabilities:ContractLiability:Plans"
MANIFEST: dict[str, Any] = {
    "detail_fields": {"PaymentCaptured": "method", "NotificationSent": "template"},
    "outcomes": {
        "RenewalAccepted": {"": 2},
        "TopUpAccepted": {"": 1},
        "PaymentCaptured": {"card": 3},
        "NotificationSent": {"renewal_confirmed": 3},
    },
    "dead_letters": {"orders": {"body_invalid": 1}},
    "messages": {
        "renewal_confirmed by email": {"en": 1, "zh-Hans": 1},
        "renewal_confirmed by sms": {"en": 1},
    },
    "orders": {"acct-1": 2, "acct-2": 1},
    "trial_balance": {
        "USD": {
            CARD: 5_500,
            PLANS: -3_000,
            "Liabilities:Wallet:Paid": -2_500,
            "Liabilities:Wallet:Bonus": -250,
            "Liabilities:Wallet:BonusOffset": 250,
        }
    },
    "wallets": {"acct-2": {"currency": "USD", "paid": 2_500, "bonus": 250}},
}
BALANCES = {
    CARD: 4_000,
    f"{CARD}:sandbox": 1_200,
    f"{CARD}:stripe": 300,
    PLANS: -3_000,
    "Liabilities:Wallet:Paid:acct-2": -2_500,
    "Liabilities:Wallet:Bonus:acct-2": -250,
    "Liabilities:Wallet:BonusOffset": 250,
    "Liabilities:Refunds:Payable": 0,
}
Headers = list[tuple[str, bytes]]


def record(number: int, name: str, version: int = 1, **data: str) -> tuple[Headers, bytes]:
    """Return an event as it stands on a topic."""
    headers = {"ce_id": f"id-{number}", "ce_source": "/billing/orders"}
    headers["ce_type"] = f"billing.{name}.v{version}"
    return [(key, text.encode()) for key, text in headers.items()], json.dumps(data).encode()


def sent(number: int, locale: str, message_id: str = "") -> tuple[Headers, bytes]:
    """Return the fact that mail `<number>@demo`, or another message, was accepted."""
    return record(
        number,
        "NotificationSent",
        message_id=message_id or f"<{number}@demo>",
        template="renewal_confirmed",
        locale=locale,
    )


@dataclass(slots=True)
class Observed:
    """What a good run leaves behind; a test changes one thing of it."""

    records: list[tuple[Headers, bytes | None]] = field(
        default_factory=lambda: [
            record(1, "RenewalAccepted", account_id="acct-1", renewal_id="rnw-1"),
            record(2, "RenewalAccepted", account_id="acct-1", renewal_id="rnw-2"),
            record(3, "TopUpAccepted", account_id="acct-2", topup_id="top-1"),
            *(record(number, "PaymentCaptured", method="card") for number in (4, 5, 6)),
            sent(7, "en"),
            sent(8, "zh-Hans"),
            sent(30, "en", "sms-9"),
        ]
    )
    letters: dict[tuple[str, str], int] = field(
        default_factory=lambda: {("orders", "body_invalid"): 1}
    )
    mails: list[str] = field(default_factory=lambda: ["<7@demo>", "<8@demo>"])
    sms: list[str] = field(default_factory=lambda: ["sms-9"])
    balances: dict[tuple[str, str], int] = field(
        default_factory=lambda: {(account, "USD"): minor for account, minor in BALANCES.items()}
    )
    checks: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            service: [{"name": "hash chain", "ok": True, "compared": "9 hashes"}]
            for service in ("orders", "ledger", "notifier")
        }
    )

    def compared(self, folder: Path) -> DemoResult:
        """Compare everything with the manifest, as the demo does."""
        result, tally = DemoResult(), Tally(MANIFEST["detail_fields"])
        for headers, value in self.records:
            tally.see(headers, value)
        for number, message_id in enumerate(self.mails):
            text = f"Message-ID: {message_id}\nSubject: Done\n\nHello\n"
            (folder / f"{number:06d}.eml").write_text(text, encoding="utf-8")
        for message_id in self.sms:
            (folder / f"{message_id}.json").write_text("{}", encoding="utf-8")
        messages = find_mails(result, folder, tally.notifications)
        messages += find_sms(result, folder, tally.notifications)
        result.comparisons += compare_outcomes(
            MANIFEST, tally.counts, Counter(self.letters), messages, tally.orders_by_account()
        )
        rows = [
            {"account": account, "currency": currency, "amount_minor": minor}
            for (account, currency), minor in self.balances.items()
        ]
        find_balances(result, {"positions": {"0": 9}, "balances": rows}, MANIFEST)
        result.checks = verified(self.checks)
        return result


def spoiled(change: Callable[[Observed], object]) -> Observed:
    """Return what a good run leaves behind, with one thing changed."""
    observed = Observed()
    change(observed)
    return observed


def move(observed: Observed, minor: int, debit: str, credit: str, currency: str = "USD") -> int:
    """Move an amount between accounts of the ledger; return it."""
    for account, sign in ((debit, 1), (credit, -1)):
        before = observed.balances.get((account, currency), 0)
        observed.balances[account, currency] = before + sign * minor
    return minor

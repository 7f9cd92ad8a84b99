"""What must come of the demo's requests, counted; filled in by the scenarios, read by the manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.demo.books import Books

DETAIL_FIELDS: Final = {
    "RenewalRejected": "reason",
    "TopUpRejected": "reason",
    "PaymentConfirmationRefused": "reason",
    "PaymentCaptured": "method",
    "PaymentFailed": "reason",
    "PaymentOutcomeUnknown": "cause",
    "PaymentOutcomeResolved": "outcome",
    "ActivationFailed": "reason",
    "RefundCompleted": "method",
    "SurplusCaptured": "reason",
    "SurplusReturned": "reason",
    "SurplusCredited": "reason",
    "WalletChargeRefused": "reason",
    "NotificationSent": "template",
    "NotificationFailed": "reason",
}
"""The field of each event that the manifest counts apart."""

EMAIL_OF: Final = {
    "PlanActivated": "renewal_confirmed",
    "PaymentFailed": "payment_failed",
    "WalletToppedUp": "top_up_confirmed",
    "ActivationDelayed": "activation_delayed",
    "RefundCompleted": "refund_completed",
    "SurplusReturned": "surplus_returned",
    "SurplusCredited": "surplus_credited",
    "LowBalanceDetected": "low_balance",
}
"""The email template that tells the customer of a fact; other facts send none."""


@dataclass(slots=True)
class Expectations:
    """Outcomes, emails and dead letters, per phase where the publisher waits for them.

    `orders` counts the accepted orders of each account.
    """

    books: Books = field(default_factory=Books)
    outcomes: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)
    emails: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: dict[int, Counter[tuple[str, str]]] = field(default_factory=dict)

    def event(self, phase: int, name: str, detail: str = "") -> None:
        """Expect one event because of what phase `phase` sends."""
        self.outcomes.setdefault(phase, Counter())[name, detail] += 1

    def accepted(self, phase: int, name: str, account_id: str) -> None:
        """Expect that an order is accepted."""
        self.event(phase, name)
        self.orders[account_id] += 1

    def told(self, phase: int, name: str, detail: str = "", *, locale: str) -> None:
        """Expect one event, and the email about it in `locale`."""
        self.event(phase, name, detail)
        self.email(phase, EMAIL_OF[name], locale)

    def email(self, phase: int, template: str, locale: str) -> None:
        """Expect one email."""
        self.emails[template, locale] += 1
        self.event(phase, "NotificationSent", template)

    def dead_letter(self, phase: int, reason: str, *groups: str) -> None:
        """Expect one record in the dead letters of each group."""
        for group in groups:
            self.dead_letters.setdefault(phase, Counter())[group, reason] += 1

    def as_json(self) -> dict[str, Any]:
        """Return everything with its sums over all phases."""
        return {
            "detail_fields": DETAIL_FIELDS,
            "outcomes": _nested(_sum(self.outcomes)),
            "outcomes_by_phase": {
                str(phase): _nested(counts) for phase, counts in sorted(self.outcomes.items())
            },
            "dead_letters": _nested(_sum(self.dead_letters)),
            "dead_letters_by_phase": {
                str(phase): _nested(counts) for phase, counts in sorted(self.dead_letters.items())
            },
            "emails": _nested(self.emails),
            "orders": dict(sorted(self.orders.items())),
            "trial_balance": self.books.trial_balance(),
            "wallets": {
                account_id: {
                    "currency": wallet.currency,
                    "paid": wallet.paid,
                    "bonus": wallet.bonus,
                }
                for account_id, wallet in sorted(self.books.wallets.items())
                if wallet.total
            },
        }


def _sum(counters: dict[int, Counter[tuple[str, str]]]) -> Counter[tuple[str, str]]:
    return sum(counters.values(), Counter())


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counts.items()):
        result.setdefault(outer, {})[inner] = count
    return result

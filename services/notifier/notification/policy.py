"""The rules that an operator sets: how long to wait and to try, and how much a mailbox gets. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.notifier.notification.rate_limit import Limit

_NOTICES: Final = Limit(burst=5, interval=timedelta(hours=1))
_RECEIPTS: Final = Limit(burst=100, interval=timedelta(minutes=1))
_ABOUT_MONEY: Final = frozenset(
    {
        "renewal_confirmed",
        "top_up_confirmed",
        "refund_completed",
        "surplus_returned",
        "surplus_credited",
    }
)


@dataclass(frozen=True, slots=True)
class Policy:
    """`retry_first` doubles with every attempt up to `retry_longest`.

    Mails about money that moved are `receipts`, all others `notices`.
    """

    contact_deadline: timedelta = timedelta(days=1)
    send_deadline: timedelta = timedelta(days=1)
    retry_first: timedelta = timedelta(seconds=5)
    retry_longest: timedelta = timedelta(minutes=5)
    notices: Limit = _NOTICES
    receipts: Limit = _RECEIPTS

    def limit_of(self, template: str) -> Limit:
        """Return how many mails of a template one mailbox gets."""
        return self.receipts if template in _ABOUT_MONEY else self.notices

    def pause_after(self, attempt: int) -> timedelta:
        """Return the pause after the attempt with this number, counted from 1."""
        doublings = min(max(attempt, 1) - 1, 32)
        return min(self.retry_first * (1 << doublings), self.retry_longest)

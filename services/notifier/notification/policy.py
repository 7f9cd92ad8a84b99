"""The rules that an operator sets: how long to wait and to try, and how much a recipient gets. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from schemas.requests import Channel
from services.notifier.notification.rate_limit import Limit

_ABOUT_MONEY: Final = frozenset(
    {
        "renewal_confirmed",
        "top_up_confirmed",
        "refund_completed",
        "surplus_returned",
        "surplus_credited",
    }
)


_NOTICES: Final = Limit(burst=5, interval=timedelta(hours=1))
_RECEIPTS: Final = Limit(burst=100, interval=timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Limits:
    """How many messages one recipient gets of a template, by whether it is about money that moved."""

    notices: Limit = _NOTICES
    receipts: Limit = _RECEIPTS

    def of(self, template: str) -> Limit:
        """Return the limit of a template."""
        return self.receipts if template in _ABOUT_MONEY else self.notices


@dataclass(frozen=True, slots=True)
class Policy:
    """`retry_first` doubles with every attempt up to `retry_longest`.

    What was sent without an answer is looked up until the `look_up_deadline`. A channel that reports
    what arrived is asked after `report_first`, twice as long and so on up to `report_longest`, until
    the `report_deadline`. Facts are told by
    `channels`, as far as the customer wants them.
    """

    contact_deadline: timedelta = timedelta(days=1)
    send_deadline: timedelta = timedelta(days=1)
    retry_first: timedelta = timedelta(seconds=5)
    retry_longest: timedelta = timedelta(minutes=5)
    look_up_deadline: timedelta = timedelta(minutes=15)
    report_first: timedelta = timedelta(seconds=10)
    report_longest: timedelta = timedelta(hours=1)
    report_deadline: timedelta = timedelta(days=3)
    channels: tuple[Channel, ...] = (Channel.EMAIL,)

    def pause_after(self, attempt: int) -> timedelta:
        """Return the pause after the attempt with this number, counted from 1."""
        return _doubled(self.retry_first, attempt, self.retry_longest)

    def report_pause_after(self, attempt: int) -> timedelta:
        """Return the pause after a channel was asked this often, and had no report."""
        return _doubled(self.report_first, attempt, self.report_longest)


def _doubled(first: timedelta, attempt: int, longest: timedelta) -> timedelta:
    doublings = min(max(attempt, 1) - 1, 32)
    return min(first * (1 << doublings), longest)

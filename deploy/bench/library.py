"""The same events replayed by the `eventsourcing` library, from its own store in memory.

In memory is the library at its fastest: no database and no network take part.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import Final
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from deploy.local.errors import StackError

_PAGE: Final = 1_000
_NET, _TAX, _FEE = 3000, 180, 92


class Renewal(Aggregate):
    """A renewal with the three events that ours has."""

    @event("Accepted")
    def __init__(self, account_id: str) -> None:
        """Begin."""
        self.account_id = account_id
        self.paid_minor = 0
        self.active = False

    @event("Captured")
    def capture(self, net_minor: int, tax_minor: int, fee_minor: int, currency: str) -> None:
        """Take the money."""
        self.paid_minor = net_minor + tax_minor
        self.fee_minor = fee_minor
        self.currency = currency

    @event("Activated")
    def activate(self, plan_code: str) -> None:
        """Hand over the plan."""
        self.plan_code = plan_code
        self.active = True


def replay_rate(count: int) -> float:
    """Store `count` events, then read and fold all of them into balances; return events/s.

    Raises:
        StackError: the balances are wrong.
    """
    os.environ.setdefault("PERSISTENCE_MODULE", "eventsourcing.popo")
    application = Application[UUID]()
    renewals = count // 3
    for number in range(renewals):
        renewal = Renewal(account_id=f"acct-{number % 10_000}-{uuid4()}")
        renewal.capture(net_minor=_NET, tax_minor=_TAX, fee_minor=_FEE, currency="USD")
        renewal.activate(plan_code="jp-month-premium")
        application.save(renewal)
    captured = Renewal.Captured  # type: ignore[attr-defined] - the decorator makes it
    started = time.perf_counter()
    balances: dict[str, int] = defaultdict(int)
    first, seen = 1, 0
    while page := application.recorder.select_notifications(first, _PAGE):
        for notification in page:
            fact = application.mapper.to_domain_event(notification)
            seen += 1
            if isinstance(fact, captured):
                balances["Assets:Gateway:Card"] += fact.net_minor + fact.tax_minor - fact.fee_minor
                balances["Liabilities:ContractLiability:Plans"] -= fact.net_minor
                balances["Liabilities:Tax:US"] -= fact.tax_minor
                balances["Expenses:GatewayFees"] += fact.fee_minor
        first = page[-1].id + 1
    taken = time.perf_counter() - started
    if sum(balances.values()) or balances["Expenses:GatewayFees"] != renewals * _FEE:
        message = "the library's books are not what was stored: its time means nothing"
        raise StackError(message)
    return seen / taken

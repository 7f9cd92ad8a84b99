"""The same events replayed by the `eventsourcing` library, from its own store in SQLite.

SQLite spares the library a server and a network; ours reads from Postgres.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from deploy.bench.parts.events import BODIES, STEPS
from deploy.local.errors import StackError


class BareRenewal(Aggregate):
    """A renewal whose three events have the bodies that ours have."""

    @event("Accepted")
    def __init__(self, body: dict[str, Any]) -> None:
        self.renewal_id = body["renewal_id"]
        self.captured: dict[str, Any] = {}
        self.active = False

    @event("Captured")
    def capture(self, body: dict[str, Any]) -> None:
        self.captured = body

    @event("Activated")
    def activate(self, body: dict[str, Any]) -> None:
        self.active = body["renewal_id"] == self.renewal_id


def replay_rate(count: int, file: Path) -> float:
    """Store `count` events in `file`, replay each aggregate and book it; return events/s.

    Raises:
        StackError: the balances are wrong.
    """
    application = Application[UUID](
        env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(file)}
    )
    try:
        ids = [_store(application, number) for number in range(count // len(STEPS))]
        started = time.perf_counter()
        balances: dict[str, int] = defaultdict(int)
        for each in ids:
            renewal: BareRenewal = application.repository.get(each)
            _book(renewal.captured, balances)
        taken = time.perf_counter() - started
    finally:
        application.close()
    if sum(balances.values()) or not balances["Expenses:GatewayFees"]:
        message = "the library's books are not what was stored: its time means nothing"
        raise StackError(message)
    return len(ids) * len(STEPS) / taken


def _store(application: Application[UUID], number: int) -> UUID:
    names = {b"account": b"acct-%d" % (number % 10_000), b"renewal": b"rnw-%d" % number}
    accepted, captured, activated = (json.loads(BODIES[step] % names) for step in STEPS)
    renewal = BareRenewal(body=accepted)
    renewal.capture(body=captured)
    renewal.activate(body=activated)
    application.save(renewal)
    return renewal.id


def _book(captured: dict[str, Any], balances: dict[str, int]) -> None:
    whole = captured["consideration"]
    net, tax = whole["net"]["amount_minor"], whole["tax"]["amount_minor"]
    fee = captured["fee"]["amount_minor"]
    balances["Assets:Gateway:Card"] += net + tax - fee
    balances["Liabilities:ContractLiability:Plans"] -= net
    balances[f"Liabilities:Tax:{whole['tax_jurisdiction']}"] -= tax
    balances["Expenses:GatewayFees"] += fee

"""The topics as data: name, who writes, who reads, for how long. An admin step creates them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from schemas.registry import Topic


class Source(StrEnum):
    """`source` of the events that our own services write; for others, see the topics."""

    ORDERS = "/billing/orders"
    LEDGER = "/billing/ledger"
    NOTIFIER = "/billing/notifier"


REQUESTS: Final = Topic(
    "billing.requests.v1",
    "upstream",
    ("orders", "notifier"),
    "what upstream systems ask for",
    source_prefix="/upstream/",
)
CONFIRMATIONS: Final = Topic(
    "billing.confirmations.v1",
    "gateway",
    ("orders",),
    "what gateways say of payments that customers made (the gateway is asked before it counts), and of"
    " refunds that the shop was to make",
    source_prefix="/gateway/",
)
ORDERS: Final = Topic(
    "billing.orders.v1",
    "orders",
    ("ledger", "notifier"),
    "what became of every request",
    source=Source.ORDERS,
)
LEDGER: Final = Topic(
    "billing.ledger.v1",
    "ledger",
    ("orders", "notifier"),
    "what the ledger decided about wallets",
    source=Source.LEDGER,
)
NOTIFICATIONS: Final = Topic(
    "billing.notifications.v1",
    "notifier",
    (),
    "which messages customers were sent",
    source=Source.NOTIFIER,
)
CATALOGUE: Final = Topic(
    "billing.catalogue.v1",
    "orders",
    (),
    "what is sold now, a record for each plan under its code",
    source=Source.ORDERS,
    compacted=True,
)
TOPICS: Final = (REQUESTS, CONFIRMATIONS, ORDERS, LEDGER, NOTIFICATIONS)
"""The topics of events."""
ALL_TOPICS: Final = (*TOPICS, CATALOGUE)
"""Those of events, and tables."""


def source_of(service: str) -> Source:
    """Return the `source` of what a service of ours writes."""
    return Source(f"/billing/{service}")

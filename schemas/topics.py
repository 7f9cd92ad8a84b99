"""The topics as data: name, who writes, who reads, for how long. An admin step creates them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic; `groups` are the consumer groups, each of which has a dead-letter topic."""

    name: str
    written_by: str
    groups: tuple[str, ...]
    about: str
    retention_days: int = 30

    def dead_letter_topic(self, group: str) -> str:
        """Return `<topic>.<group>.dlq`."""
        return f"{self.name}.{group}.dlq"


REQUESTS: Final = Topic(
    "billing.requests.v1", "upstream", ("orders", "notifier"), "what upstream systems ask for"
)
ORDERS: Final = Topic(
    "billing.orders.v1", "orders", ("ledger", "notifier"), "what became of every request"
)
LEDGER: Final = Topic(
    "billing.ledger.v1", "ledger", ("orders", "notifier"), "what the ledger decided about wallets"
)
NOTIFICATIONS: Final = Topic(
    "billing.notifications.v1", "notifier", (), "which messages customers were sent"
)
TOPICS: Final = (REQUESTS, ORDERS, LEDGER, NOTIFICATIONS)
SHARD_COUNT_DEFAULT: Final = 8
"""Partitions of every topic, and shards of every log. Fixed when the topics are created."""

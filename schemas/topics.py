"""The topics as data: name, who writes, who reads, for how long. An admin step creates them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic; `groups` are the consumer groups, each of which has a dead-letter topic.

    A topic with a `source_prefix` is external: systems around us write it, each under a name of its
    own after the prefix. Their records bear no sequence of ours and may lie in any partition. Any
    other topic belongs to the one service of ours that `written_by` names. A `compacted` topic is a
    table: of each key the newest record holds, in one partition, and it is no part of any log.
    """

    name: str
    written_by: str
    groups: tuple[str, ...]
    about: str
    retention_days: int = 30
    source_prefix: str | None = None
    compacted: bool = False

    @property
    def external(self) -> bool:
        """Say whether systems around us write it."""
        return self.source_prefix is not None

    @property
    def source_rule(self) -> str:
        """Return the `ce_source` that its events have, with `<name>` for what the writer chooses."""
        return (
            f"{self.source_prefix}<name>" if self.source_prefix else f"/billing/{self.written_by}"
        )

    def admits(self, source: str) -> bool:
        """Say whether events of `source` belong here."""
        if self.source_prefix:
            return source.startswith(self.source_prefix)
        return source == self.source_rule

    def partition_count(self, shard_count: int) -> int:
        """Return how many partitions it has in a system with `shard_count` shards."""
        return 1 if self.compacted else shard_count

    def dead_letter_topic(self, group: str) -> str:
        """Return `<topic>.<group>.dlq`."""
        return f"{self.name}.{group}.dlq"


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
    "billing.orders.v1", "orders", ("ledger", "notifier"), "what became of every request"
)
LEDGER: Final = Topic(
    "billing.ledger.v1", "ledger", ("orders", "notifier"), "what the ledger decided about wallets"
)
NOTIFICATIONS: Final = Topic(
    "billing.notifications.v1", "notifier", (), "which messages customers were sent"
)
CATALOGUE: Final = Topic(
    "billing.catalogue.v1",
    "orders",
    (),
    "what is sold now, a record for each plan under its code",
    compacted=True,
)
TOPICS: Final = (REQUESTS, CONFIRMATIONS, ORDERS, LEDGER, NOTIFICATIONS)
"""The topics of events."""
ALL_TOPICS: Final = (*TOPICS, CATALOGUE)
"""Those of events, and tables."""
SHARD_COUNT_DEFAULT: Final = 8
"""Partitions of every topic of events, and shards of every log. Fixed when the topics are created."""

"""What became of the records of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from services.runtime.log.event_log import LeasedEffect, TopicPartition


class Skipped(StrEnum):
    """Why the runtime itself had nothing to do for a record."""

    DUPLICATE_OFFSET = "duplicate_offset"
    DUPLICATE_SEQUENCE = "duplicate_sequence"
    NOT_HANDLED_HERE = "not_handled_here"
    SENT_WITHIN_SHARD = "sent_within_shard"


@dataclass(slots=True)
class IntakeResult:
    """What became of a batch. `seeks` are partitions whose consumer must go back to the cursor.

    `pauses` are those of them whose shard is parked.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    leased: list[LeasedEffect] = field(default_factory=list)
    seeks: dict[TopicPartition, int] = field(default_factory=dict)
    pauses: set[TopicPartition] = field(default_factory=set)

    def add(self, other: IntakeResult) -> None:
        """Take in what became of the records behind these."""
        self.outcomes += other.outcomes
        self.events += other.events
        self.leased += other.leased
        self.seeks |= other.seeks
        self.pauses |= other.pauses

"""What a report is about: positions of the log, what was known, what had happened, whose part. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Positions 1..n of each shard, and what of them counts.

    `known_at` keeps what the ledger had recorded by then; `effective_at` what had happened by then,
    whenever it was recorded. `account_id` keeps the part of one customer.
    """

    positions: Mapping[int, int]
    known_at: datetime | None = None
    effective_at: datetime | None = None
    account_id: str | None = None

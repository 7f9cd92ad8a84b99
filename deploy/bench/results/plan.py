"""How long and how much each benchmark measures: the full run and the short one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """Seconds of driving and counts of events; the full run takes a quarter of an hour."""

    window: int
    end_to_end_seconds: float
    reference_seconds: float
    variant_seconds: float
    latency_seconds: float
    idle_seconds: float
    intake_renewals: int
    mails: int
    append_events: int
    replay_events: int
    library_events: int
    scaling_events: tuple[int, ...]
    scaling_append: int
    accounts_many: int


FULL: Final = BenchPlan(
    window=2_000,
    end_to_end_seconds=60,
    reference_seconds=20,
    variant_seconds=25,
    latency_seconds=30,
    idle_seconds=30,
    intake_renewals=40_000,
    mails=6_000,
    append_events=100_000,
    replay_events=2_000_000,
    library_events=60_000,
    scaling_events=(10_000, 300_000, 3_000_000),
    scaling_append=10_000,
    accounts_many=1_000_000,
)
SHORT: Final = BenchPlan(
    window=400,
    end_to_end_seconds=4,
    reference_seconds=2,
    variant_seconds=1,
    latency_seconds=2,
    idle_seconds=3,
    intake_renewals=2_000,
    mails=600,
    append_events=10_000,
    replay_events=100_000,
    library_events=3_000,
    scaling_events=(3_000, 10_000),
    scaling_append=1_500,
    accounts_many=100_000,
)

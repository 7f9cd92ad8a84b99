"""What a run of the demo found, ready to be shown in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deploy.demo.expected.comparison import Comparison


@dataclass(frozen=True, slots=True)
class DemoCheck:
    """One check of `perennial log verify`, with the log that it is of."""

    name: str
    ok: bool
    compared: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One event in the life of a renewal; `after_ms` counts from the first."""

    service: str
    event: str
    text: str
    after_ms: int


@dataclass(frozen=True, slots=True)
class DemoMail:
    """One email as the customer got it."""

    template: str
    locale: str
    subject: str
    text: str
    html: str
    file: str


@dataclass(frozen=True, slots=True)
class Used:
    """A process and the most memory it held, in bytes."""

    process: str
    memory_bytes: int


@dataclass(slots=True)
class DemoResult:
    """Everything that the summary and the page show.

    `balances` is minor units (debit positive) by currency and account; `exponents` the decimals of
    each currency; `stages` the seconds that each part of the run took.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    balances: dict[str, dict[str, int]] = field(default_factory=dict)
    exponents: dict[str, int] = field(default_factory=dict)
    replay_sha256: str = ""
    replay_positions: int = 0
    checks: list[DemoCheck] = field(default_factory=list)
    renewal_id: str = ""
    timeline: list[Moment] = field(default_factory=list)
    mails: list[DemoMail] = field(default_factory=list)
    mail_count: int = 0
    mail_folder: Path = Path()
    sms_count: int = 0
    sms_folder: Path = Path()
    memory: list[Used] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    accounts: int = 0
    renewals_per_second: float = 0

    @property
    def differences(self) -> list[str]:
        """What is not as it must be, in words; empty when the run is good."""
        wrong = [
            f"{c.area}: {c.name} {c.detail}".rstrip() + f" expected {c.expected}, seen {c.seen}"
            for c in self.comparisons
            if not c.agrees
        ]
        wrong += [
            f"verify: {check.name} failed: {check.compared}"
            for check in self.checks
            if not check.ok
        ]
        wrong += [
            f"trial balance: {currency} sums to {total}"
            for currency, accounts in sorted(self.balances.items())
            if (total := sum(accounts.values()))
        ]
        return wrong

    @property
    def seconds(self) -> float:
        """The time of the whole run."""
        return sum(self.stages.values())

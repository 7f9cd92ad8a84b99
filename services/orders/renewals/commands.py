"""What may be asked of a renewal. Each command brings the time; none brings a new id."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from schemas.requests import RenewalRequested
from services.orders.renewals.providers.provider import ActivationOutcome, NotFound


@dataclass(frozen=True, slots=True)
class AcceptRenewal:
    """A customer asks for a renewal, through the upstream that is the `source`."""

    request: RenewalRequested = field(repr=False)
    now: datetime
    source: str | None = None


@dataclass(frozen=True, slots=True)
class RecordActivation:
    """The provider answered, or did not answer; `last` marks the look-up at the final deadline."""

    outcome: ActivationOutcome | NotFound
    attempt: int
    last: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class ActivatedElsewhere:
    """A person found the plan active at `provider`, under its order's reference."""

    provider: str
    provider_order_ref: str
    activated_at: datetime


@dataclass(frozen=True, slots=True)
class SettleActivation:
    """A person says how an activation ended that the provider does not tell."""

    outcome: ActivatedElsewhere | Literal["not_activated"]
    by: str
    reason: str
    now: datetime

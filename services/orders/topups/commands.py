"""What may be asked of a top-up. It brings the time, and no new id."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from schemas.requests import TopUpRequested


@dataclass(frozen=True, slots=True)
class AcceptTopUp:
    """A customer asks to top up the wallet, through the upstream that is the `source`."""

    request: TopUpRequested = field(repr=False)
    now: datetime
    source: str | None = None

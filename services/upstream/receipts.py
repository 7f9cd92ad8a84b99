"""What is known about each request that was to be published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.runtime.errors import Transient
from services.upstream.requests import UpstreamRequest

Status = Literal["acknowledged", "unknown", "not_sent"]


@dataclass(slots=True)
class DeliveryReceipt:
    """What is known about one request. `unknown`: handed to the broker, which did not answer."""

    request: UpstreamRequest
    status: Status = "not_sent"
    partition: int | None = None
    offset: int | None = None


class DeliveryBroken(Transient):
    """Publishing ended early; the receipts say how far it came."""

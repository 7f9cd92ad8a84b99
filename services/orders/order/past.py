"""What is left of an order when its effects are lost. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from schemas.envelope import Event
from schemas.requests import RenewalRequested, TopUpRequested
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.evolution import evolve
from services.orders.order.state import (
    AwaitingActivation,
    AwaitingPayment,
    NewOrder,
    OrderState,
    Renewal,
    TopUp,
)

Request = RenewalRequested | TopUpRequested
_OPEN: Final = (AwaitingActivation, AwaitingPayment)


@dataclass(frozen=True)
class Past:
    """The events of an order, the catalogue, and its request, where that is still known."""

    events: Sequence[Event]
    request: Request | None
    catalogue: Catalogue

    @cached_property
    def order(self) -> Renewal | TopUp | None:
        """The order after its events; None where there never was one."""
        state: OrderState = NewOrder()
        for event in self.events:
            state = evolve(state, event)
        return state if isinstance(state, Renewal | TopUp) else None

    @property
    def is_open(self) -> bool:
        """Whether the order waits for a payment or an activation."""
        return self.order is not None and isinstance(self.order.stage, _OPEN)

"""The streams of orders: one for each renewal, one for each top-up. PURE."""

from __future__ import annotations

from typing import Final

from services.orders.order.archival import ARCHIVAL
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.order_id import OrderKind
from services.orders.order.state import OrderState
from services.runtime.processor import StreamKind

RENEWALS: Final[StreamKind[OrderState]] = StreamKind(
    OrderKind.RENEWAL, initial_state, evolve, archival=ARCHIVAL
)
TOP_UPS: Final[StreamKind[OrderState]] = StreamKind(
    OrderKind.TOP_UP, initial_state, evolve, archival=ARCHIVAL
)

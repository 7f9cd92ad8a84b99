"""Tells a request that was sent again from a new one under an old id. PURE."""

from __future__ import annotations

from services.orders.order.rules import IgnoredReason
from services.orders.order.state import ArchivedOrder, NewOrder, OrderState, RefusedOrder


def repeated(state: OrderState, digest: str) -> IgnoredReason | None:
    """Return why a request is nothing new, or None."""
    if isinstance(state, NewOrder):
        return None
    over = RefusedOrder | ArchivedOrder
    first = state.digest if isinstance(state, over) else state.payable.digest
    if digest == first:
        return IgnoredReason.DUPLICATE_REQUEST
    if digest in state.refused_digests:
        return IgnoredReason.DUPLICATE_REFUSED_REQUEST
    return None

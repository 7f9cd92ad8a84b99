"""The streams of each service that archives events, as its deciders know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas import BILLING
from services.notifier.notification.archival import NOTIFICATION_STREAMS
from services.orders.order.streams import RENEWALS, TOP_UPS
from services.runtime.processor import Streams

ARCHIVED: Final[Mapping[str, Streams]] = {
    "orders": Streams(BILLING, RENEWALS, TOP_UPS),
    "notifier": Streams(BILLING, NOTIFICATION_STREAMS),
}

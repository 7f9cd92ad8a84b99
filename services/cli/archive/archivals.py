"""What may be archived of each service that archives events, as its deciders know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.notifier.notification.archival import ARCHIVAL as NOTIFIER
from services.orders.order.archival import ARCHIVAL as ORDERS
from services.runtime.processor import Archival

ARCHIVALS: Final[Mapping[str, Archival[Any]]] = {"orders": ORDERS, "notifier": NOTIFIER}

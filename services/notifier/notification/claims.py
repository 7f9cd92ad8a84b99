"""Which events of the notifier rest on one of orders or of the ledger: all of them."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from services.runtime.log.event_log import StoredEvent

_FACT: Final = re.compile(rb'"fact_event_id":"([0-9a-f-]{36})"')


def told_fact(stored: StoredEvent) -> UUID | None:
    """Return the id of the fact that the customer was told of."""
    found = _FACT.search(stored.body)
    return None if found is None else UUID(found[1].decode())

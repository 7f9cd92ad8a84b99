"""Which events of orders rest on one of the ledger."""

from __future__ import annotations

from uuid import UUID

from schemas.orders import PaymentCaptured
from services.runtime.log.event_log import StoredEvent

_CAPTURED = PaymentCaptured.wire_type()


def wallet_payment(stored: StoredEvent) -> UUID | None:
    """Return the id of the WalletCharged behind a payment from the wallet."""
    paid = stored.type == _CAPTURED and b'"method":"wallet"' in stored.body
    return stored.causation_id if paid else None

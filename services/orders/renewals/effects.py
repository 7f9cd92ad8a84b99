"""The effect that activates a plan: its kind, id and private payload. PURE.

The payload is the only place where an ICCID is kept, and it goes with the effect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from schemas.requests import RenewalRequested
from services.orders.order import identities
from services.runtime.processor import JsonObject, Retry, Start

ACTIVATE: Final = "activate"


def activate_effect(request: RenewalRequested, stream_id: str, validity_days: int) -> Start:
    """Activate the plan once the payment releases it."""
    reference = identities.activation_id(request.account_id, stream_id)
    payload: JsonObject = {
        "reference": reference,
        "iccid": request.iccid,
        "plan_code": request.plan_code,
        "quantity": request.quantity,
        "validity_days": validity_days,
    }
    return Start(f"{ACTIVATE}/{reference}", ACTIVATE, payload, hold_key=stream_id)


def look_up_activation(reference: str, due_at: datetime) -> Retry:
    """Turn the activation into a last look-up: without the ICCID it can never activate."""
    return Retry(due_at, {"reference": reference})

"""What an effect of each kind keeps, as its service would have written it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.fuzz import hostile
from tests.fuzz.examples import example


def _fact() -> dict[str, Any]:
    fact = example("billing.PlanActivated.v1")
    return {
        "event_id": fact["id"], "type": fact["type"], "account_id": fact["partitionkey"],
        "occurred_at": fact["time"], "body": hostile.written(fact["data"]),
        "contact_by": fact["time"], "send_by": None,
    }  # fmt: skip


PAYLOADS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "charge": lambda: {"payment_id": "p", "not_found_count": 0},
    "activate": lambda: {"reference": "r"},
    "refund": lambda: {
        "refund_id": "r", "payment_id": "p", "gateway": "g", "gateway_txn_id": "t",
        "method": "card", "amount": {"amount_minor": 1, "currency": "USD"},
    },
    "expire": dict,
    "confirm": lambda: {
        "gateway": "g", "gateway_txn_id": "t", "agreed": True, "not_found_count": 0,
    },
    "email": _fact,
    "sms": _fact,
    "sms_report": lambda: {
        "account_id": "acct-1", "notification_id": "n", "fact_event_id": _fact()["event_id"],
        "fact_type": "billing.PlanActivated.v1", "channel": "sms", "template": "renewal_confirmed",
        "template_version": "1", "message_id": "m", "until": "2026-11-23T08:00:00Z",
    },
}  # fmt: skip

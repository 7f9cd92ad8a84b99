"""What cases begin with where no golden example does: answers, outcomes, columns."""

from __future__ import annotations

from typing import Final

FILE_BYTES_MAX: Final = 256 * 1024
"""The time is that of a few rows; a long file may take longer."""
OUTCOMES: Final = (
    "captured", "not_charged", "activated", "not_activated", "refunded", "not_refunded", "expired",
    "sent", "not_sent", "else",
)  # fmt: skip
ANSWERS: Final = (
    {
        "outcome": "captured", "gateway": "g", "gateway_txn_id": "t",
        "captured_at": "2026-11-20T08:00:00Z", "amount": {"amount_minor": 100, "currency": "USD"},
        "fee": {"amount_minor": 3, "currency": "EUR"},
    },
    {"outcome": "declined", "reason": "insufficient_funds"},
    {
        "outcome": "refunded", "gateway": "g", "gateway_refund_ref": "r",
        "refunded_at": "2026-11-20T08:00:00Z",
    },
    {
        "outcome": "activated", "provider": "p", "provider_order_ref": "o",
        "valid_from": "2026-11-20T08:00:00Z", "valid_until": "2026-12-20T08:00:00Z",
        "activated_at": "2026-11-20T08:00:00Z",
    },
    {
        "outcome": "found", "gateway": "g", "gateway_txn_id": "t", "reference": "order/r-1",
        "status": "captured", "amount": {"amount_minor": 100, "currency": "USD"},
        "method": "card", "captured_at": "2026-11-20T08:00:00Z",
    },
    {"outcome": "refused", "reason": "esim_not_renewable"},
    {"outcome": "not_supported"},
    {"outcome": "not_found"},
    {"outcome": "unavailable"},
    {"outcome": "outcome_unknown", "cause": "timeout"},
)  # fmt: skip
CSV_COLUMNS: Final = (
    "account_id", "renewal_id", "iccid", "plan_code", "quantity", "expected_total.amount_minor",
    "expected_total.currency", "payment.method", "payment.mode", "payment.currency",
    "payment.token", "promotion_codes", "contact.email", "contact.locale", "requested_at", "id",
    "time", "source", "traceparent", "unknown",
)  # fmt: skip

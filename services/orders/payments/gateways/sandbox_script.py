"""What tokens and names of transactions make the sandbox gateway do: its whole script, as data."""

from __future__ import annotations

import re
from typing import Final

from schemas.orders import DeclineReason
from schemas.requests import PaymentMethod

TOKENS: Final[dict[str, str]] = {
    "tok_ok": "charged",
    "tok_insufficient_funds": "declined: insufficient_funds",
    "tok_bank_limit": "declined: bank_limit",
    "tok_network": "declined: network_interruption",
    "tok_risk_declined": "declined: risk_declined",
    "tok_authentication_required": "declined: authentication_required",
    "tok_expired": "declined: expired",
    "tok_cancelled": "declined: cancelled_by_customer",
    "tok_unknown": "declined: unknown",
    "tok_slow": "charged, answered slowly",
    "tok_duplicate": "asked twice at once, charged once",
    "tok_timeout_before": "never charged, no answer",
    "tok_timeout_after": "charged, no answer",
    "tok_timeout_declined": "declined: insufficient_funds, no answer",
    "tok_error_after": "charged, answered with an error",
    "tok_down_N": "unavailable for the first N calls (1 to 99), then charged",
    "tok_action": "asks the customer to agree, who never does",
    "tok_action_N": "asks the customer to agree, who does by the Nth look-up (1 to 99), charged then",
    "tok_refund_down": "charged; its refund is unavailable for the first 2 calls",
    "tok_refund_lost": "charged; its refund is made, no answer",
}
"""What each token makes the gateway do; any other token is declined as `unknown`."""

TRANSACTIONS: Final[dict[str, str]] = {
    "-down-N": "unavailable for the first N look-ups (1 to 99)",
    "-late-N": "not found for the first N look-ups (1 to 99)",
    "-pending-N": "pending for the first N look-ups (1 to 99)",
    "-cancelled": "held, but never captured",
}
"""What the ending of a `gateway_txn_id` makes of its look-ups; with any other it is as it was paid."""
NO_LOOK_UP: Final = "silent"
"""A gateway whose name begins so cannot be asked about transactions."""

DECLINES: Final = {
    "tok_insufficient_funds": DeclineReason.INSUFFICIENT_FUNDS,
    "tok_bank_limit": DeclineReason.BANK_LIMIT,
    "tok_network": DeclineReason.NETWORK_INTERRUPTION,
    "tok_risk_declined": DeclineReason.RISK_DECLINED,
    "tok_authentication_required": DeclineReason.AUTHENTICATION_REQUIRED,
    "tok_expired": DeclineReason.EXPIRED,
    "tok_cancelled": DeclineReason.CANCELLED_BY_CUSTOMER,
    "tok_timeout_declined": DeclineReason.INSUFFICIENT_FUNDS,
}
CHARGED: Final = frozenset(
    {
        "tok_ok",
        "tok_slow",
        "tok_duplicate",
        "tok_timeout_after",
        "tok_error_after",
        "tok_refund_down",
        "tok_refund_lost",
    }
)
LOST: Final = frozenset({"tok_timeout_before", "tok_timeout_after", "tok_timeout_declined"})
DOWN: Final = re.compile(r"^tok_down_([1-9][0-9]?)$")
ACTION: Final = re.compile(r"^tok_action(?:_([1-9][0-9]?))?$")
AT_FIRST: Final = re.compile(r"-(down|late|pending)-([1-9][0-9]?)$")
REFUND_DOWN_CALLS: Final = 2
FEE_PER_MILLE: Final = {
    PaymentMethod.CARD: 29,
    PaymentMethod.PAYPAL: 34,
    PaymentMethod.ALIPAY: 6,
    PaymentMethod.WECHAT: 6,
    PaymentMethod.WALLET: 0,
}

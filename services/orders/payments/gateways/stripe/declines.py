"""What Stripe's codes mean for the customer: https://docs.stripe.com/declines/codes and /error-codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.orders import DeclineReason

REASONS: Final[Mapping[DeclineReason, tuple[str, ...]]] = {
    DeclineReason.INSUFFICIENT_FUNDS: ("insufficient_funds",),
    DeclineReason.BANK_LIMIT: (
        "amount_too_large",
        "card_velocity_exceeded",
        "withdrawal_count_limit_exceeded",
    ),
    DeclineReason.BELOW_MINIMUM_TOP_UP: ("amount_too_small",),
    DeclineReason.NETWORK_INTERRUPTION: (
        "issuer_not_available",
        "payment_method_provider_timeout",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    ),
    DeclineReason.RISK_DECLINED: (
        "fraudulent",
        "highest_risk_level",
        "lost_card",
        "merchant_blacklist",
        "pickup_card",
        "restricted_card",
        "security_violation",
        "stolen_card",
    ),
    DeclineReason.AUTHENTICATION_REQUIRED: (
        "authentication_not_handled",
        "authentication_required",
        "mobile_device_authentication_required",
        "offline_pin_required",
        "online_or_offline_pin_required",
        "payment_intent_authentication_failure",
    ),
    DeclineReason.EXPIRED: ("expired_card", "payment_intent_payment_attempt_expired"),
    DeclineReason.CANCELLED_BY_CUSTOMER: (
        "payment_method_customer_decline",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stop_payment_order",
    ),
}
"""Every other code, such as `do_not_honor` and `generic_decline`, tells the customer nothing."""
_REASON_OF: Final = {code: reason for reason, codes in REASONS.items() for code in codes}


def reason_of(decline_code: str | None, code: str | None) -> DeclineReason:
    """Return the reason; the issuer's `decline_code` says more than Stripe's own `code`."""
    for said in (decline_code, code):
        if said in _REASON_OF:
            return _REASON_OF[said]
    return DeclineReason.UNKNOWN

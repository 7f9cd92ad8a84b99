"""Events that orders publishes to `billing.orders.v1`. No contact data, no ICCID, no token."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import (
    DecimalText,
    Event,
    Identifier,
    Part,
    Sha256Hex,
    ShortText,
    SourceName,
    TimeZoneName,
    UtcDatetime,
)
from schemas.money import Money, Moves
from schemas.requests import OfOneOrder, PaymentMethod, PaymentMode


class RejectionReason(StrEnum):
    """Why a renewal was refused before any money moved."""

    UNKNOWN_PLAN = "unknown_plan"
    PLAN_NOT_SOLD_IN_CURRENCY = "plan_not_sold_in_currency"
    PRICE_CHANGED = "price_changed"
    QUOTE_EXPIRED = "quote_expired"
    PAYMENT_METHOD_NOT_ACCEPTED = "payment_method_not_accepted"
    ESIM_NOT_RENEWABLE = "esim_not_renewable"
    RENEWAL_ID_REUSED = "renewal_id_reused"
    ACCOUNT_BLOCKED = "account_blocked"
    ABOVE_MAXIMUM = "above_maximum"
    PROMOTION_NOT_APPLICABLE = "promotion_not_applicable"


class TopUpRejectionReason(StrEnum):
    """Why a top-up was refused before any money moved."""

    BELOW_MINIMUM_TOP_UP = "below_minimum_top_up"
    CURRENCY_NOT_SUPPORTED = "currency_not_supported"
    PAYMENT_METHOD_NOT_ACCEPTED = "payment_method_not_accepted"
    TOPUP_ID_REUSED = "topup_id_reused"
    ACCOUNT_BLOCKED = "account_blocked"
    ABOVE_MAXIMUM = "above_maximum"


class DeclineReason(StrEnum):
    """Why a payment failed; the customer email puts each into words."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    BANK_LIMIT = "bank_limit"
    BELOW_MINIMUM_TOP_UP = "below_minimum_top_up"
    NETWORK_INTERRUPTION = "network_interruption"
    RISK_DECLINED = "risk_declined"
    AUTHENTICATION_REQUIRED = "authentication_required"
    EXPIRED = "expired"
    CANCELLED_BY_CUSTOMER = "cancelled_by_customer"
    UNKNOWN = "unknown"


class UnknownCause(StrEnum):
    """Why we do not know whether the gateway charged."""

    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    GATEWAY_ERROR = "gateway_error"


class ActivationFailureReason(StrEnum):
    """Why a paid plan will not be activated; a refund follows."""

    ESIM_NOT_FOUND = "esim_not_found"
    ESIM_NOT_ELIGIBLE = "esim_not_eligible"
    DEADLINE_PASSED = "deadline_passed"
    ORDER_EXPIRED = "order_expired"
    AMOUNT_MISMATCH = "amount_mismatch"


class Quote(Part):
    """The locked price: `list_price` - `discount` = `net`, and `net` + `tax` = `total`."""

    plan_code: Identifier
    plan_version: Identifier
    quantity: int = Field(ge=1)
    list_price: Money
    discount: Money
    promotions: list[Identifier]
    net: Money
    tax: Money
    tax_rate: DecimalText
    tax_jurisdiction: Identifier
    total: Money


class Consideration(Part):
    """What a captured amount consists of: `net` + `tax` was paid in money, `bonus` was granted.

    `bonus` is non-zero only for wallet payments (docs/ACCOUNTING.md, bonus as a discount).
    """

    net: Money
    tax: Money
    tax_jurisdiction: Identifier
    bonus: Money


class Allowance(Part):
    """What one period of the plan holds; an absent field is not metered."""

    data_mib: int | None = Field(default=None, ge=0)
    minutes: int | None = Field(default=None, ge=0)
    sms: int | None = Field(default=None, ge=0)


class RenewalAccepted(Event):
    """The request is valid and its price locked; `confirm_by` is set for await_confirmation.

    `gateway` charges the token, and is asked about it ever after; it is set for mode charge.
    `promotions_not_applied` are codes of the request that lower nothing; the total was the expected
    one without them. `time_zone` is that of a plan that is valid for calendar days.
    """

    renewal_id: Identifier
    esim_hash: Sha256Hex
    quote: Quote
    plan_title: dict[Identifier, ShortText]
    payment_method: PaymentMethod
    payment_mode: PaymentMode
    gateway: Identifier | None = None
    confirm_by: UtcDatetime | None = None
    time_zone: TimeZoneName | None = None
    promotions_not_applied: list[Identifier] | None = None
    request_digest: Sha256Hex
    request_source: SourceName | None = None
    accepted_at: UtcDatetime


class RenewalRejected(Event):
    """The request was refused; nothing was charged.

    `current_total` is set for price_changed and promotion_not_applicable, `maximum` for
    above_maximum. `promotions_not_applied` are codes of the request that lower nothing.
    """

    renewal_id: Identifier
    reason: RejectionReason
    detail: ShortText
    current_total: Money | None = None
    maximum: Money | None = None
    promotions_not_applied: list[Identifier] | None = None
    request_digest: Sha256Hex
    request_source: SourceName | None = None
    rejected_at: UtcDatetime


class OrderExpired(OfOneOrder):
    """The customer did not confirm or agree to the payment in time; nothing was charged.

    `settled_by` and `settlement_reason` are set when a person closed the order before its time.
    """

    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    expired_at: UtcDatetime


class PaymentCaptured(OfOneOrder):
    """Money (or wallet credit) is ours: `consideration` adds up to `amount`.

    `unverified` is set when only a confirmation or a person says so, of a gateway that cannot be
    asked: such money is never given back without a person. `external` is set when the shop's own
    gateway took it, which alone can give it back (RefundInstructed).
    """

    payment_id: Identifier
    attempt: int = Field(ge=1)
    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    amount: Money
    consideration: Annotated[Consideration, Moves(whole="amount")]
    fee: Annotated[Money | None, Moves()] = None
    unverified: Literal[True] | None = None
    external: Literal[True] | None = None
    captured_at: UtcDatetime


class PaymentFailed(OfOneOrder):
    """Nothing was charged; `retryable` says whether the same method may be tried again.

    `gateway` is set when one was to charge it, `plan_title` for a renewal.
    """

    payment_id: Identifier
    gateway: Identifier | None = None
    attempt: int = Field(ge=1)
    method: PaymentMethod
    amount: Money
    reason: DeclineReason
    retryable: bool
    plan_title: dict[Identifier, ShortText] | None = None
    failed_at: UtcDatetime


class PaymentOutcomeUnknown(OfOneOrder):
    """The gateway did not say whether it charged. It is looked up, never charged a second time."""

    payment_id: Identifier
    gateway: Identifier | None = None
    method: PaymentMethod
    amount: Money
    cause: UnknownCause
    observed_at: UtcDatetime


class PaymentOutcomeResolved(OfOneOrder):
    """The look-up answered, or a person did; PaymentCaptured or PaymentFailed follows at once.

    After `action_required` it is PaymentActionRequired. `settled_by` and `settlement_reason` are set
    when it was a person, from what the gateway's operator said or its statement shows.
    """

    payment_id: Identifier
    gateway: Identifier | None = None
    outcome: Literal["captured", "declined", "not_charged", "action_required"]
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    resolved_at: UtcDatetime


class PlanActivated(Event):
    """The plan works on the eSIM from `valid_from` until `valid_until`; the receipt's data.

    `time_zone` is set where days are the calendar's there; otherwise a day has 24 hours.
    `settled_by` and `settlement_reason` are set when a person found it active at the provider.
    """

    renewal_id: Identifier
    activation_id: Identifier
    payment_id: Identifier
    esim_hash: Sha256Hex
    provider: Identifier
    provider_order_ref: Identifier
    plan_code: Identifier
    plan_version: Identifier
    plan_title: dict[Identifier, ShortText]
    quantity: int = Field(ge=1)
    allowance: Allowance
    payment_method: PaymentMethod
    price: Money
    tax: Money
    total: Money
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    time_zone: TimeZoneName | None = None
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    activated_at: UtcDatetime


class ActivationDelayed(Event):
    """Paid, and not active within the promise of 30 minutes; it goes on being tried."""

    renewal_id: Identifier
    activation_id: Identifier
    plan_title: dict[Identifier, ShortText]
    attempts: int = Field(ge=1)
    promised_by: UtcDatetime
    delayed_at: UtcDatetime


class ActivationFailed(Event):
    """The plan will not be activated; `refund` is owed to the customer from now on.

    `settled_by` and `settlement_reason` are set when a person gave it up; the reason is then
    `deadline_passed`.
    """

    renewal_id: Identifier
    activation_id: Identifier
    payment_id: Identifier
    reason: ActivationFailureReason
    method: PaymentMethod
    refund: Annotated[Consideration, Moves()]
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    failed_at: UtcDatetime


class RefundCompleted(Event):
    """`refund` went back the way it came: to the gateway, or into the wallet's lots.

    `gateway` is the one that took the money; with `settled_by`, the one that a person names.
    `settled_by` and `settlement_reason` are set when a person found or made the refund.
    """

    renewal_id: Identifier
    refund_id: Identifier
    payment_id: Identifier
    gateway: Identifier
    gateway_refund_ref: Identifier
    method: PaymentMethod
    amount: Money
    refund: Annotated[Consideration, Moves(whole="amount")]
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    completed_at: UtcDatetime


class TopUpAccepted(Event):
    """The top-up is valid; the bonus it will earn is locked. `gateway` as in RenewalAccepted."""

    topup_id: Identifier
    amount: Money
    bonus: Money
    rule_id: Identifier
    rule_version: Identifier
    payment_method: PaymentMethod
    payment_mode: PaymentMode
    gateway: Identifier | None = None
    confirm_by: UtcDatetime | None = None
    request_digest: Sha256Hex
    request_source: SourceName | None = None
    accepted_at: UtcDatetime


class TopUpRejected(Event):
    """The top-up was refused; nothing was charged.

    `minimum` is set for below_minimum_top_up, `maximum` for above_maximum.
    """

    topup_id: Identifier
    reason: TopUpRejectionReason
    detail: ShortText
    minimum: Money | None = None
    maximum: Money | None = None
    request_digest: Sha256Hex
    request_source: SourceName | None = None
    rejected_at: UtcDatetime


class WalletToppedUp(Event):
    """Paid credit entered the wallet as a lot; `bonus` is what a BonusGranted adds to it at once.

    `gateway` took the money; events from before it was stated have none.
    """

    topup_id: Identifier
    payment_id: Identifier
    lot_id: Identifier
    gateway: Identifier | None = None
    method: PaymentMethod
    amount: Annotated[Money, Moves()]
    bonus: Money | None = None
    expires_at: UtcDatetime | None = None
    rule_id: Identifier
    rule_version: Identifier
    topped_up_at: UtcDatetime


class BonusGranted(Event):
    """Granted credit entered the wallet as a lot, without a payment."""

    topup_id: Identifier
    payment_id: Identifier
    lot_id: Identifier
    amount: Annotated[Money, Moves()]
    expires_at: UtcDatetime | None = None
    rule_id: Identifier
    rule_version: Identifier
    granted_at: UtcDatetime


class WalletChargeRequested(Event):
    """Orders asks the ledger, which alone decides, to pay `net` + `tax` = `amount` by wallet."""

    charge_id: Identifier
    renewal_id: Identifier
    amount: Money
    net: Money
    tax: Money
    tax_jurisdiction: Identifier
    requested_at: UtcDatetime

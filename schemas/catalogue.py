"""What is sold, as publishers read it: one `PlanOffered` for each plan, not an event of an account."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from schemas.envelope import DecimalText, Identifier, Message, Part, ShortText, UtcDatetime
from schemas.money import Money
from schemas.orders import Allowance
from schemas.requests import PaymentMethod, PaymentMode


class PlanKind(StrEnum):
    """How a plan's period is measured."""

    DAY = "day"
    DATA = "data"
    MONTH = "month"
    YEAR = "year"


class PlanTier(StrEnum):
    """How much service a plan brings."""

    BASIC = "basic"
    PREMIUM = "premium"
    DELUXE = "deluxe"


class PaymentWay(Part):
    """A payment method and a mode that go together."""

    method: PaymentMethod
    mode: PaymentMode


class PlanPrice(Part):
    """What one period costs in one currency, without tax, and how it may be paid.

    An order's total, with tax, may be `order_maximum` at most.
    """

    price: Money
    tax_rate: DecimalText
    tax_jurisdiction: Identifier
    order_maximum: Money
    payments: list[PaymentWay]


class PlanPromotion(Part):
    """A discount on the list price of an order; an `automatic` one needs no code in the request."""

    code: Identifier
    percentage: DecimalText
    automatic: bool
    quantity_min: int = Field(ge=1)
    valid_from: UtcDatetime
    valid_until: UtcDatetime


class PlanOffered(Message):
    """A plan as it is sold now: its version, prices, and the promotions that can lower them.

    The newest record of its code holds; one without a value says that the plan is sold no more.
    With `calendar_days`, the days of its validity are those of the customer's time zone, that of the
    activation the first; else a day has 24 hours.
    """

    plan_code: Identifier
    plan_version: Identifier
    title: dict[Identifier, ShortText]
    kind: PlanKind
    tier: PlanTier
    region: Identifier
    validity_days: int = Field(ge=1)
    calendar_days: bool | None = None
    allowance: Allowance
    valid_from: UtcDatetime
    valid_until: UtcDatetime | None = None
    prices: list[PlanPrice]
    promotions: list[PlanPromotion]


class TopUpTier(Part):
    """From `amount` on, `bonus_percentage` of a top-up is granted on top."""

    amount: Money
    bonus_percentage: DecimalText


class TopUpOffered(Part):
    """How one currency is topped up now; without expiry days or years, the credit never expires."""

    minimum: Money
    maximum: Money
    payments: list[PaymentWay]
    paid_expiry_days: int | None = Field(default=None, ge=1)
    paid_expiry_years: int | None = Field(default=None, ge=1)
    bonus_expiry_days: int | None = Field(default=None, ge=1)
    bonus_expiry_years: int | None = Field(default=None, ge=1)
    bonuses: list[TopUpTier]

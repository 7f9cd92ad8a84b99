"""What an order costs, in exact integers: quotes, bonuses, and the one rounding rule. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from schemas.money import Money
from schemas.orders import Quote
from services.orders.catalogue.catalogue import Catalogue, PlanVersion, Tax, TopUpRule


class Ordered(Protocol):
    """What of an order sets its price, beside the plan and the currency."""

    @property
    def quantity(self) -> int:
        """How many periods."""

    @property
    def promotion_codes(self) -> Sequence[str]:
        """The codes that the customer gave."""


def share_of(amount_minor: int, rate: str) -> int:
    """Return `rate` (a decimal as text) times `amount_minor`, rounded half up."""
    whole, _, fraction = rate.partition(".")
    return _half_up(amount_minor * int(whole + fraction), 10 ** len(fraction))


def percentage_of(amount_minor: int, percentage: str) -> int:
    """Return `percentage` per cent of `amount_minor`, rounded half up."""
    whole, _, fraction = percentage.partition(".")
    return _half_up(amount_minor * int(whole + fraction), 100 * 10 ** len(fraction))


def quote(
    catalogue: Catalogue, plan: PlanVersion, tax: Tax, order: Ordered, now: datetime
) -> Quote:
    """Price `order` of a plan that is sold in the currency of `tax`."""
    currency = tax.currency
    list_minor = plan.price[currency] * order.quantity
    promotion = catalogue.best_promotion(plan, order.quantity, order.promotion_codes, now)
    discount_minor = percentage_of(list_minor, promotion.percentage) if promotion else 0
    net_minor = list_minor - discount_minor
    tax_minor = share_of(net_minor, tax.rate)
    return Quote(
        plan_code=plan.code,
        plan_version=plan.version,
        quantity=order.quantity,
        list_price=Money(amount_minor=list_minor, currency=currency),
        discount=Money(amount_minor=discount_minor, currency=currency),
        promotions=[promotion.code] if promotion else [],
        net=Money(amount_minor=net_minor, currency=currency),
        tax=Money(amount_minor=tax_minor, currency=currency),
        tax_rate=tax.rate,
        tax_jurisdiction=tax.jurisdiction,
        total=Money(amount_minor=net_minor + tax_minor, currency=currency),
    )


def bonus(rule: TopUpRule, amount: Money) -> Money:
    """Return what `rule` grants on top of `amount`: the highest tier it reaches."""
    reached = [tier for tier in rule.tiers if tier.from_minor <= amount.amount_minor]
    granted = percentage_of(amount.amount_minor, reached[-1].bonus_percentage) if reached else 0
    return Money(amount_minor=granted, currency=amount.currency)


def _half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)

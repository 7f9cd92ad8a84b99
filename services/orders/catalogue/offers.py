"""What is on sale at a moment, and what an order would cost, for those who do not order yet. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.catalogue import (
    PaymentWay,
    PlanOffered,
    PlanPrice,
    PlanPromotion,
    TopUpOffered,
    TopUpTier,
)
from schemas.money import Money
from schemas.orders import Quote
from schemas.requests import PaymentMethod
from services.orders.catalogue.catalogue import Catalogue, PlanVersion, Promotion
from services.orders.catalogue.pricing import quote


class NotOffered(ValueError):
    """Nobody can order this; the message says what can be."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order to be quoted: one eSIM, `quantity` periods."""

    plan_code: str
    currency: str
    quantity: int = 1
    promotion_codes: tuple[str, ...] = ()
    method: str | None = None
    mode: str | None = None


def plans_offered(catalogue: Catalogue, moment: datetime) -> tuple[PlanOffered, ...]:
    """Return what is sold at `moment`, by plan code."""
    codes = sorted({plan.code for plan in catalogue.plans})
    found = (catalogue.plan(code, moment) for code in codes)
    offered = (_plan_offered(catalogue, plan, moment) for plan in found if plan)
    return tuple(plan for plan in offered if plan.prices)


def top_ups_offered(catalogue: Catalogue, moment: datetime) -> tuple[TopUpOffered, ...]:
    """Return how each currency is topped up at `moment`."""
    currencies = sorted({rule.currency for rule in catalogue.top_ups})
    return tuple(found for each in currencies if (found := _top_up(catalogue, each, moment)))


def quoted(catalogue: Catalogue, wanted: Wanted, moment: datetime) -> Quote:
    """Price an order as orders does when it is asked for at `moment`.

    Raises:
        NotOffered: the plan, the currency, the way to pay or a promotion code is not there, or the
            total is above the maximum.
    """
    offered = {plan.plan_code: plan for plan in plans_offered(catalogue, moment)}
    if wanted.plan_code not in offered:
        raise NotOffered(_none("plan", wanted.plan_code, offered))
    prices = {each.price.currency: each for each in offered[wanted.plan_code].prices}
    if wanted.currency not in prices:
        raise NotOffered(_none(f"price of {wanted.plan_code} in", wanted.currency, prices))
    _check_payment(wanted, prices[wanted.currency].payments)
    plan, tax = catalogue.plan(wanted.plan_code, moment), catalogue.tax(wanted.currency, moment)
    if plan is None or tax is None:
        raise NotOffered(_none("plan", wanted.plan_code, offered))
    if idle := catalogue.idle_codes(plan, wanted.quantity, wanted.promotion_codes, moment):
        raise NotOffered(_idle(idle, _usable(catalogue, plan, wanted.quantity, moment)))
    price, maximum = quote(catalogue, plan, tax, wanted, moment), prices[wanted.currency]
    if price.total.amount_minor > maximum.order_maximum.amount_minor:
        message = f"an order may cost {maximum.order_maximum} at most, and this one {price.total}"
        raise NotOffered(message)
    return price


def _check_payment(wanted: Wanted, ways: Sequence[PaymentWay]) -> None:
    if not any(
        wanted.method in {None, each.method.value} and wanted.mode in {None, each.mode.value}
        for each in ways
    ):
        asked = "/".join(filter(None, (wanted.method, wanted.mode)))
        there = [f"{each.method.value}/{each.mode.value}" for each in ways]
        raise NotOffered(_none(f"payment in {wanted.currency} by", asked, there))


def _plan_offered(catalogue: Catalogue, plan: PlanVersion, moment: datetime) -> PlanOffered:
    running = (each for each in catalogue.promotions if each.runs(moment))
    return PlanOffered(
        plan_code=plan.code,
        plan_version=plan.version,
        title=plan.title,
        kind=plan.kind,
        tier=plan.tier,
        region=plan.region,
        validity_days=plan.validity_days,
        calendar_days=plan.calendar_days or None,
        allowance=plan.allowance,
        valid_from=plan.valid_from,
        valid_until=plan.valid_until,
        prices=list(_prices(catalogue, plan, moment)),
        promotions=[_told(each) for each in running if each.is_for(plan)],
    )


def _prices(catalogue: Catalogue, plan: PlanVersion, moment: datetime) -> Iterator[PlanPrice]:
    for currency, price_minor in sorted(plan.price.items()):
        tax, maximum = catalogue.tax(currency, moment), catalogue.maximum(currency, moment)
        if tax and maximum:
            yield PlanPrice(
                price=Money(amount_minor=price_minor, currency=currency),
                tax_rate=tax.rate,
                tax_jurisdiction=tax.jurisdiction,
                order_maximum=maximum.money(),
                payments=_ways(catalogue, currency),
            )


def _ways(catalogue: Catalogue, currency: str, *, wallet: bool = True) -> list[PaymentWay]:
    rows = (row for row in catalogue.payments if currency in row.currencies)
    return [
        PaymentWay(method=row.method, mode=row.mode)
        for row in rows
        if wallet or row.method is not PaymentMethod.WALLET
    ]


def _told(promotion: Promotion) -> PlanPromotion:
    return PlanPromotion(
        code=promotion.code,
        percentage=promotion.percentage,
        automatic=promotion.automatic,
        quantity_min=promotion.quantity_min,
        valid_from=promotion.valid_from,
        valid_until=promotion.valid_until,
    )


def _top_up(catalogue: Catalogue, currency: str, moment: datetime) -> TopUpOffered | None:
    rule = catalogue.top_up_rule(currency, moment)
    maximum = catalogue.maximum(currency, moment)
    if rule is None or maximum is None:
        return None
    return TopUpOffered(
        minimum=Money(amount_minor=rule.minimum_minor, currency=currency),
        maximum=maximum.money(),
        payments=_ways(catalogue, currency, wallet=False),
        paid_expiry_days=rule.paid_expiry_days,
        paid_expiry_years=rule.paid_expiry_years,
        bonus_expiry_days=rule.bonus_expiry_days,
        bonus_expiry_years=rule.bonus_expiry_years,
        bonuses=[
            TopUpTier(
                amount=Money(amount_minor=tier.from_minor, currency=currency),
                bonus_percentage=tier.bonus_percentage,
            )
            for tier in rule.tiers
        ],
    )


def _usable(
    catalogue: Catalogue, plan: PlanVersion, quantity: int, moment: datetime
) -> Iterator[str]:
    for each in catalogue.promotions:
        if each.runs(moment) and not each.automatic and each.covers(plan, quantity, {each.code}):
            yield each.code


def _none(what: str, asked: str, there: Iterable[str]) -> str:
    return f"there is no {what} {asked} then; there is: {', '.join(there) or 'nothing'}"


def _idle(codes: Iterable[str], usable: Iterable[str]) -> str:
    return (
        f"the promotion code {', '.join(codes)} lowers nothing of this order then; "
        f"what does: {', '.join(usable) or 'no code'}"
    )

"""Prices, bonuses and fees from the catalogue's data, by arithmetic of the demo's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

SERVICES: Final = Path(__file__).parents[2] / "services"
AS_OF: Final = datetime(2026, 11, 20, 8, tzinfo=UTC)
"""The moment that the manifest's prices are of. A later price in the catalogue changes them."""

FEE_PER_MILLE: Final = {"card": 29, "paypal": 34, "alipay": 6, "wechat": 6}


@dataclass(frozen=True, slots=True)
class Price:
    """What an order costs, in minor units."""

    currency: str
    net: int
    tax: int
    jurisdiction: str

    @property
    def total(self) -> int:
        """Net and tax."""
        return self.net + self.tax


@cache
def price_of(
    plan_code: str, currency: str, quantity: int = 1, codes: tuple[str, ...] = ()
) -> Price:
    """Return the price of `quantity` periods for a customer who gives the promotion `codes`."""
    plan = _in_force("plan", code=plan_code)
    listed = plan["price"][currency] * quantity
    percentages = [
        Fraction(promotion["percentage"])
        for promotion in _catalogue().get("promotion", [])
        if _covers(promotion, plan, quantity, codes)
    ]
    net = listed - _half_up(Fraction(listed) * max(percentages, default=Fraction(0)) / 100)
    tax = _in_force("tax", currency=currency)
    return Price(currency, net, _half_up(net * Fraction(tax["rate"])), tax["jurisdiction"])


def plans_sold_in(currency: str) -> list[str]:
    """Return the codes of all plans with a price in `currency`, cheapest first."""
    codes = {plan["code"] for plan in _catalogue()["plan"]}
    sold = [code for code in codes if currency in _in_force("plan", code=code)["price"]]
    return sorted(sold, key=lambda code: (price_of(code, currency).net, code))


def bonus_of(currency: str, amount: int) -> int:
    """Return the bonus that a top-up of `amount` earns."""
    tiers = _in_force("top_up", currency=currency).get("tiers", [])
    reached = [tier for tier in tiers if tier["from_minor"] <= amount]
    highest = max(reached, key=lambda tier: tier["from_minor"], default=None)
    return _half_up(amount * Fraction(highest["bonus_percentage"]) / 100) if highest else 0


def minimum_top_up(currency: str) -> int:
    """Return the least amount of a top-up."""
    minimum: int = _in_force("top_up", currency=currency)["minimum_minor"]
    return minimum


def maximum_amount(currency: str) -> int:
    """Return the most that one request may be about."""
    maximum: int = _in_force("maximum", currency=currency)["amount_minor"]
    return maximum


def bonus_tiers(currency: str) -> list[int]:
    """Return the amounts from which a top-up earns more."""
    return [tier["from_minor"] for tier in _in_force("top_up", currency=currency)["tiers"]]


def fee_of(method: str, amount: int) -> int:
    """Return what the sandbox gateway keeps of a charge."""
    return amount * FEE_PER_MILLE[method] // 1000


def low_balance_threshold(currency: str) -> int:
    """Return the balance below which a customer is told."""
    text = (SERVICES / "ledger" / "low_balance.toml").read_text(encoding="utf-8")
    threshold: int = tomllib.loads(text)["low_balance"][currency]
    return threshold


@cache
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(
        (SERVICES / "orders" / "catalogue" / "catalogue.toml").read_text(encoding="utf-8")
    )


@cache
def _in_force(table: str, **key: str) -> dict[str, Any]:
    rows = [
        row
        for row in _catalogue()[table]
        if row["valid_from"] <= AS_OF and all(row[name] == value for name, value in key.items())
    ]
    newest: dict[str, Any] = max(rows, key=lambda row: row["valid_from"])
    return newest


def _covers(
    promotion: dict[str, Any], plan: dict[str, Any], quantity: int, codes: tuple[str, ...]
) -> bool:
    return (
        promotion["valid_from"] <= AS_OF < promotion["valid_until"]
        and (promotion["automatic"] or promotion["code"] in codes)
        and plan["kind"] in promotion.get("kinds", [plan["kind"]])
        and plan["tier"] in promotion.get("tiers", [plan["tier"]])
        and plan["code"] in promotion.get("plan_codes", [plan["code"]])
        and quantity >= promotion.get("quantity_min", 1)
    )


def _half_up(amount: Fraction) -> int:
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)

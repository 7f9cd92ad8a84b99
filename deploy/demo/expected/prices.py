"""Prices, bonuses and fees from the catalogue's data, by arithmetic of the oracle's own."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

Table = dict[str, Any]
Codes = Sequence[str]
SERVICES: Final = Path(__file__).parents[3] / "services"
AS_OF: Final = datetime(2026, 11, 20, 8, tzinfo=UTC)
"""The moment that the prices are of. A price that the catalogue has from then on changes nothing."""

WORLD: Final = tomllib.loads(Path(__file__).with_name("world.toml").read_text(encoding="utf-8"))
"""What sandboxes and services do: tokens, eSIMs, ways to pay, emails."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an order costs, in minor units; a top-up has no tax."""

    currency: str
    net: int
    tax: int = 0
    tax_account: str = ""

    @property
    def total(self) -> int:
        return self.net + self.tax


def price_of(plan: str, currency: str, quantity: int = 1, promotion_codes: Codes = ()) -> Price:
    """Return the price of `quantity` periods of a plan for a customer who gives `promotion_codes`."""
    sold = _in_force("plan", code=plan)
    listed = sold["price"][currency] * quantity
    percentages = [
        Fraction(promotion["percentage"])
        for promotion in _read("orders/catalogue/catalogue.toml").get("promotion", [])
        if _covers(promotion, sold, quantity, promotion_codes)
    ]
    net = listed - _half_up(listed * max(percentages, default=Fraction(0)) / 100)
    tax = _in_force("tax", currency=currency)
    account = f"Liabilities:Tax:{tax['jurisdiction']}"
    return Price(currency, net, _half_up(net * Fraction(tax["rate"])), account)


def bonus_of(currency: str, amount: int) -> int:
    """Return the bonus that a top-up of `amount` earns."""
    tiers = _in_force("top_up", currency=currency).get("tiers", [])
    reached = [tier for tier in tiers if tier["from_minor"] <= amount]
    highest = max(reached, key=lambda tier: tier["from_minor"], default={"bonus_percentage": 0})
    return _half_up(amount * Fraction(highest["bonus_percentage"]) / 100)


def fee_of(method: str, amount: int) -> int:
    """Return what the sandbox gateway keeps of a charge."""
    return amount * int(WORLD["method"][method]["fee_per_mille"]) // 1000


def low_balance_threshold(currency: str) -> int:
    """Return the balance below which a customer is told."""
    return int(_read("ledger/low_balance.toml")["low_balance"][currency])


@cache
def _read(file: str) -> Table:
    return tomllib.loads((SERVICES / file).read_text(encoding="utf-8"))


@cache
def _in_force(table: str, **key: str) -> Table:
    rows: list[Table] = [
        row
        for row in _read("orders/catalogue/catalogue.toml")[table]
        if row["valid_from"] <= AS_OF and all(row[name] == value for name, value in key.items())
    ]
    return max(rows, key=lambda row: row["valid_from"])


def _covers(promotion: Table, plan: Table, quantity: int, codes: Codes) -> bool:
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

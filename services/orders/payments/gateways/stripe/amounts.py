"""Stripe's units of money, where they differ from ISO 4217: https://docs.stripe.com/currencies."""

from __future__ import annotations

from typing import Final

from schemas.money import Money

_UNITS_PER_MINOR: Final = {"ISK": 100, "UGX": 100}
"""Without minor unit in ISO 4217; Stripe counts hundredths, of which there must be whole hundreds."""
_MINOR_PER_UNIT: Final = {"MGA": 100}
"""Stripe counts no hundredths."""
_MINOR_STEPS: Final = {"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10}
"""Stripe takes thousandths only in tens."""


def units_of(amount: Money) -> int | None:
    """Return what Stripe is told; None: it cannot charge such an amount."""
    currency = amount.currency
    step = _MINOR_PER_UNIT.get(currency, 1)
    if amount.amount_minor % _MINOR_STEPS.get(currency, step):
        return None
    return amount.amount_minor * _UNITS_PER_MINOR.get(currency, 1) // step


def money_of(units: int, currency: str) -> Money:
    """Return what Stripe says.

    Raises:
        ValueError: it is no amount of this currency.
    """
    code = currency.upper()
    minor, rest = divmod(units * _MINOR_PER_UNIT.get(code, 1), _UNITS_PER_MINOR.get(code, 1))
    if rest:
        message = "a part of the least unit"
        raise ValueError(message)
    return Money(amount_minor=minor, currency=code)

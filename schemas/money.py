"""Money as an integer count of minor units with its ISO 4217 currency. No rates, no formatting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final

from iso4217 import Currency
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

AMOUNT_MINOR_MAX: Final = 10**15
"""The largest single amount: a 64-bit column holds it, and so does a double. A sum of amounts may
be larger: it is a plain integer, `numeric` in Postgres, a decimal of 38 digits in Arrow."""


def _known_currency(code: str) -> str:
    exponent_of(code)
    return code


@cache
def exponent_of(currency: str) -> int:
    """Return the number of decimal places of `currency` in ISO 4217 (JPY 0, USD 2, BHD 3).

    Raises:
        ValueError: the code is not a currency with minor units in ISO 4217.
    """
    try:
        exponent = Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        message = "unknown currency: use an ISO 4217 alphabetic code such as USD"
        raise ValueError(message)
    return int(exponent)


CurrencyCode = Annotated[str, Field(pattern="^[A-Z]{3}$"), AfterValidator(_known_currency)]


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies met in one sum."""


class Money(BaseModel):
    """A non-negative amount: `amount_minor` in minor units of `currency` (1234 USD is $12.34)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    amount_minor: int = Field(ge=0, le=AMOUNT_MINOR_MAX)
    currency: CurrencyCode

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(amount_minor=0, currency=currency)

    def __add__(self, other: Money) -> Money:
        """Return the sum; raise `CurrencyMismatch` when the currencies differ."""
        self._same_currency(other)
        return Money(amount_minor=self.amount_minor + other.amount_minor, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        """Return the difference; a negative one is a validation error, never a negative amount."""
        self._same_currency(other)
        return Money(amount_minor=self.amount_minor - other.amount_minor, currency=self.currency)

    def __str__(self) -> str:
        """Return `12.34 USD`: for people and logs, never for a contract."""
        return f"{decimal_text(self.amount_minor, self.currency)} {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            message = f"cannot combine {self.currency} with {other.currency}"
            raise CurrencyMismatch(message)


@dataclass(frozen=True, slots=True)
class Moves:
    """Marks the field of an event that states money which moves; the books take the field's name.

    A field of several amounts, such as `Consideration`, moves each under its own name; `whole`
    names the field that they add up to, if there is one.
    """

    whole: str | None = None


def moving_fields(model: type[BaseModel]) -> dict[str, Moves]:
    """Return the marked fields of `model` in their order."""
    return {
        name: mark
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Moves)
    }


def decimal_text(amount_minor: int, currency: str) -> str:
    """Write minor units as a decimal without grouping: 1234 USD is `12.34`, -5 JPY is `-5`."""
    exponent = exponent_of(currency)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}" if exponent else sign + digits

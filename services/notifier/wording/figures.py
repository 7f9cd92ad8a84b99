"""Money and moments as a customer reads them: ISO 4217 exponents, the customer's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final, Generic, TypeVar

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal, get_currency_symbol
from pydantic import BaseModel, ConfigDict, StringConstraints

from schemas.money import Money, exponent_of

_SHARED_SYMBOLS: Final = frozenset({"$", "¥", "£"})
"""Several currencies are written with these, so the ISO code follows the number."""


_BOUND: Final = "\u00a0"
"""A space at which no line ends: an amount stays with its currency, a time with its offset."""
_JOINED: Final = "\u2060"
_OPENING: Final = "（"
_REMEMBERED: Final = 4096
"""Amounts and minutes repeat from email to email, and Babel takes 20 µs for each of them."""


Phrase = Annotated[str, StringConstraints(min_length=1)]
"""Plain text, `{placeholder}` for a fact; a layout escapes it, so it holds no markup."""
ToTheMinute = Annotated[str, StringConstraints(pattern="^[^sSA]+$")]
"""A CLDR pattern without seconds: the text of a moment is remembered for its whole minute."""


class Formats(BaseModel):
    """How a language writes figures. `home_currency` needs no ISO code; "" when there is none.

    `date_time` is a CLDR pattern, `moment` puts it beside its `{offset}` from UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    locale: str
    home_currency: str
    date_time: ToTheMinute
    moment: Phrase


WordsT = TypeVar("WordsT", bound=Formats)


@dataclass(frozen=True, slots=True)
class Figures(Generic[WordsT]):
    """Writes money and moments in the language of `words`, moments in `zone`."""

    words: WordsT
    zone: tzinfo

    def money(self, money: Money) -> str:
        """Return `$31.80 USD`, `€12.00`, `¥3,180 JPY`: exact, with the currency unmistakable."""
        words = self.words
        return _money_text(money.amount_minor, money.currency, words.locale, words.home_currency)

    def moment(self, moment: datetime) -> str:
        """Return date, time and offset: `20 November 2026, 16:34 (UTC+8)`."""
        minute = moment.replace(second=0, microsecond=0)
        words = self.words
        return _minute_text(minute, self.zone, words.locale, (words.date_time, words.moment))


@lru_cache(_REMEMBERED)
def _money_text(amount_minor: int, currency: str, language: str, home_currency: str) -> str:
    locale = Locale.parse(language, sep="-")
    exponent = exponent_of(currency)
    pattern = "#,##0." + "0" * exponent if exponent else "#,##0"
    amount = Decimal(amount_minor).scaleb(-exponent)
    digits = format_decimal(amount, format=pattern, locale=locale)
    symbol = get_currency_symbol(currency, locale)
    gap = _BOUND if symbol[-1].isalpha() else ""
    shared = symbol in _SHARED_SYMBOLS and currency != home_currency
    return f"{symbol}{gap}{digits}" + (f"{_BOUND}{currency}" if shared else "")


@lru_cache(_REMEMBERED)
def _minute_text(minute: datetime, zone: tzinfo, language: str, forms: tuple[str, str]) -> str:
    pattern, moment = forms
    local = minute.astimezone(zone)
    locale = Locale.parse(language, sep="-")
    text = format_datetime(local, pattern, tzinfo=zone, locale=locale)
    told = moment.format(date_time=text, offset=_offset_text(local.utcoffset()))
    return told.replace(" (", f"{_BOUND}(").replace(_OPENING, _JOINED + _OPENING)


def unbound(text: str) -> str:
    """Return `text` with plain spaces: for subjects and plain text, which are wrapped already."""
    return text.replace(_BOUND, " ").replace(_JOINED, "")


def _offset_text(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds()) // 60
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{hours}" + (f":{rest:02d}" if rest else "")

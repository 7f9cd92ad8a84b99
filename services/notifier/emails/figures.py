"""Money and moments as a customer reads them: ISO 4217 exponents, the customer's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal, get_currency_symbol

from schemas.money import Money, exponent_of
from services.notifier.emails.wording import Wording

_SHARED_SYMBOLS: Final = frozenset({"$", "¥", "£"})
"""Several currencies are written with these, so the ISO code follows the number."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Writes money and moments in the language of `words`, moments in `zone`."""

    words: Wording
    zone: ZoneInfo

    def money(self, money: Money) -> str:
        """Return `$31.80 USD`, `€12.00`, `¥3,180 JPY`: exact, with the currency unmistakable."""
        locale = Locale.parse(self.words.locale, sep="-")
        exponent = exponent_of(money.currency)
        pattern = "#,##0." + "0" * exponent if exponent else "#,##0"
        amount = Decimal(money.amount_minor).scaleb(-exponent)
        digits = format_decimal(amount, format=pattern, locale=locale)
        symbol = get_currency_symbol(money.currency, locale)
        gap = " " if symbol[-1].isalpha() else ""
        shared = symbol in _SHARED_SYMBOLS and money.currency != self.words.home_currency
        return f"{symbol}{gap}{digits}" + (f" {money.currency}" if shared else "")

    def moment(self, moment: datetime) -> str:
        """Return date, time and offset: `20 November 2026, 16:34 (UTC+8)`."""
        local = moment.astimezone(self.zone)
        locale = Locale.parse(self.words.locale, sep="-")
        text = format_datetime(local, self.words.date_time, tzinfo=self.zone, locale=locale)
        return self.words.moment.format(date_time=text, offset=_offset_text(local.utcoffset()))


def _offset_text(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds()) // 60
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{hours}" + (f":{rest:02d}" if rest else "")

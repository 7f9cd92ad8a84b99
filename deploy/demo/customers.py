"""The demo's customers: five hundred accounts that nobody has, in three languages, five currencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

ACCOUNT_COUNT: Final = 500
LOCALES: Final = ("zh-Hans", "zh-Hant", "en")
CURRENCIES: Final = ("CNY", "USD", "EUR", "HKD", "JPY")
ACTIVATES: Final = "0000"
_PREFIXES: Final = ("8985203", "8986012", "8944501")
_METHODS: Final = {
    "CNY": ("card", "alipay", "wechat"),
    "USD": ("card", "paypal"),
    "EUR": ("card", "paypal"),
    "HKD": ("card", "paypal", "alipay", "wechat"),
    "JPY": ("card", "paypal"),
}
_TIME_ZONES: Final = {
    "CNY": "Asia/Shanghai",
    "USD": "America/New_York",
    "EUR": "Europe/Berlin",
    "HKD": "Asia/Hong_Kong",
    "JPY": "Asia/Tokyo",
}
_NAMES: Final = {
    "zh-Hans": ("林小雨", "陈一帆", "赵明月", "周子安", "吴思远"),
    "zh-Hant": ("張雅婷", "黃志豪", "劉詩涵", "鄭家瑋", "謝佳玲"),
    "en": ("Ada Marsh", "Noor Haddad", "Finn O'Dell", "Zoë Quist", "Ravi Menon"),
}
_DOMAINS: Final = ("example.com", "example.net", "example.org")


@dataclass(frozen=True, slots=True)
class Customer:
    """One account. Everything about it follows from its number."""

    number: int

    @property
    def account_id(self) -> str:
        """`acct-0001`."""
        return f"acct-{self.number:04d}"

    @property
    def locale(self) -> str:
        """The language of the customer's emails."""
        return LOCALES[self.number % len(LOCALES)]

    @property
    def currency(self) -> str:
        """The one currency that the account uses."""
        return CURRENCIES[self.number // len(LOCALES) % len(CURRENCIES)]

    def method(self, turn: int = 0) -> str:
        """Return a way to pay that is open in the account's currency."""
        methods = _METHODS[self.currency]
        return methods[(self.number // 15 + turn) % len(methods)]

    def iccid(self, ending: str = ACTIVATES) -> str:
        """Return an eSIM of the account; its last four digits decide what the sandbox does."""
        prefix = _PREFIXES[self.number % len(_PREFIXES)]
        return f"{prefix}{self.number:08d}{ending}"

    def contact(self, locale: str | None = None) -> dict[str, Any]:
        """Return where and in which language to reach the customer."""
        locale = locale or self.locale
        names = _NAMES[locale]
        return {
            "email": f"customer-{self.number:04d}@{_DOMAINS[self.number % len(_DOMAINS)]}",
            "name": names[self.number // len(LOCALES) % len(names)],
            "locale": locale,
            "time_zone": _TIME_ZONES[self.currency],
        }


CUSTOMERS: Final = tuple(Customer(number) for number in range(1, ACCOUNT_COUNT + 1))

"""Facts and contacts to write emails about: the examples of the contract, and variants of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import PaymentFailed
from schemas.requests import Contact
from services.notifier.channels.email.texts.house import House
from services.notifier.notification.templates import TEMPLATE_OF

LOCALES: Final = ("zh-Hans", "zh-Hant", "en")
NAMES: Final = {"zh-Hans": "林小雨", "zh-Hant": "張雅婷", "en": "Ada Marsh"}
ZONES: Final = {"zh-Hans": "Asia/Shanghai", "zh-Hant": "Asia/Taipei", "en": "America/New_York"}
HOUSE: Final = House(
    seller_name="Shop & Co. Ltd.",
    seller_address="1 Harbour Road, Hong Kong",
    seller_tax_number="HK-1234567",
    app_url="https://app.shop.example/pay?from=mail&lang=any",
)
_EXAMPLES: Final = Path(__file__).parents[3] / "schemas" / "examples"


def fact(model: type[Event], **changes: Any) -> Event:
    """Return the contract's example of `model` with `changes`; None takes a field away."""
    path = _EXAMPLES / model.__name__ / "v1.json"
    data = json.loads(path.read_text(encoding="utf-8"))["data"] | changes
    present = {key: value for key, value in data.items() if value is not None}
    return model.parse(json.dumps(present).encode())


def failed_top_up(**changes: Any) -> Event:
    """Return a PaymentFailed about a top-up."""
    return fact(PaymentFailed, renewal_id=None, topup_id="top-7", **changes)


def amount(minor: int, currency: str) -> dict[str, Any]:
    """Return Money as the wire has it."""
    return Money(amount_minor=minor, currency=currency).model_dump()


def contact(locale: str = "en", *, named: bool = True, **changes: Any) -> Contact:
    """Return a customer who reads `locale` and lives where it is read."""
    fields: dict[str, Any] = {
        "email": "customer@example.com",
        "locale": locale,
        "time_zone": ZONES.get(locale, "UTC"),
        "name": NAMES.get(locale) if named else None,
    }
    return Contact(**(fields | changes))


EVERY_FACT: Final = tuple(fact(model) for model in TEMPLATE_OF)
EVERY_CASE: Final = tuple((each, locale) for each in EVERY_FACT for locale in LOCALES)


def case_id(value: Any) -> str:
    """Name a test case after its fact or locale."""
    return type(value).__name__ if isinstance(value, Event) else str(value)

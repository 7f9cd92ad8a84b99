"""Turn one fact into one short text in the customer's language. Pure: no clock, no network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected
from schemas.money import Money
from schemas.orders import (
    ActivationDelayed,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import Contact, PaymentMethod
from schemas.surplus import SurplusCredited, SurplusReturned
from services.notifier.channels.sms.segments import is_gsm7
from services.notifier.channels.sms.texts.wording import WORDING, SmsWording
from services.notifier.notification.templates import TEMPLATE_OF, order_of
from services.notifier.wording.figures import Figures, unbound
from services.notifier.wording.greeting import shown_id
from services.notifier.wording.locales import locale_of, zone_of
from services.notifier.wording.titles import title_in

_ID_CHARACTERS_MAX: Final = 24
_TITLE_CHARACTERS_MAX: Final = 40
_LIKE_A_NUMBER: Final = re.compile(r"(?:\d[\W_]{0,2}){7,}")
"""So many digits in a row are a phone number to a phone, and one tap calls it."""
_PLAIN: Final = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
    | {"\u2026": "...", "\u00b7": "-", "\u202f": " ", "\u00d7": "x", "\u2022": "-"}
)
"""Punctuation that says the same in the GSM alphabet, at half the price."""
_SYMBOL: Final = re.compile(r"^[^\d-]+")


@dataclass(frozen=True, slots=True)
class RenderedSms:
    """One text; `locale` is zh-Hans, zh-Hant or en."""

    text: str
    locale: str


def render(event: Event, contact: Contact, listed: Sequence[str] = ()) -> RenderedSms:
    """Write the text about `event` in the language and time zone of `contact`.

    It holds no name, and of what a stranger chose neither a link nor a number to call. `listed` are
    the orders of other facts of its kind that it stands for.

    Raises:
        TypeError: the type of `event` is not in `TEMPLATE_OF`.
    """
    locale = locale_of(contact)
    words = WORDING[locale]
    facts = _facts(event, Figures(words, zone_of(contact)))
    text = words.messages[TEMPLATE_OF[type(event)]].format_map(facts)
    if listed:
        text += words.more.format(count=len(listed))
    text = unbound(text)
    return RenderedSms(text.translate(_PLAIN) if locale == "en" else text, locale)


def short_id(text: str) -> str:
    """Return an order's id as it may stand in an SMS: upstream chose it, and phones make it a link.

    One that is long, or that phones could take for a number to call, is shown as `#` and the first
    12 hexadecimal digits of its SHA-256.
    """
    if len(text) > _ID_CHARACTERS_MAX or _LIKE_A_NUMBER.search(text):
        return f"#{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return shown_id(text)


def _facts(event: Event, figures: Figures[SmsWording]) -> Mapping[str, str]:
    words, order = figures.words, short_id(order_of(event))
    match event:
        case PlanActivated():
            return {
                "plan": _title(event.plan_title, words, event.plan_code),
                "valid_until": figures.moment(event.valid_until),
                "amount": _money(event.total, figures),
                "order": order,
            }
        case PaymentFailed():
            purpose = words.for_top_up if event.renewal_id is None else words.for_renewal
            return {"amount": _money(event.amount, figures), "purpose": purpose}
        case PaymentActionRequired():
            purpose = words.for_top_up if event.renewal_id is None else words.for_renewal
            return {
                "amount": _money(event.amount, figures),
                "purpose": purpose,
                "pay_by": figures.moment(event.pay_by),
            }
        case ActivationDelayed():
            return {"plan": _title(event.plan_title, words, event.renewal_id), "order": order}
        case RefundCompleted():
            by_wallet = event.method is PaymentMethod.WALLET
            arrival = words.to_wallet if by_wallet else words.to_payment_method
            return {"amount": _money(event.amount, figures), "arrival": arrival, "order": order}
        case WalletToppedUp() | SurplusReturned() | SurplusCredited():
            return {"amount": _money(event.amount, figures), "order": order}
        case LowBalanceDetected():
            return {
                "balance": _money(event.balance, figures),
                "threshold": _money(event.threshold, figures),
            }
        case _:
            message = f"no SMS is written about {type(event).__name__}: look in TEMPLATE_OF first"
            raise TypeError(message)


def _money(money: Money, figures: Figures[SmsWording]) -> str:
    """Return an amount; in English with its ISO code where its sign is not in the GSM alphabet."""
    text = unbound(figures.money(money))
    if figures.words.locale == "en" and not is_gsm7(text):
        return _SYMBOL.sub(f"{money.currency} ", text).removesuffix(f" {money.currency}")
    return text


def _title(titles: Mapping[str, str], words: SmsWording, otherwise: str) -> str:
    title = title_in(titles, words.locale) or short_id(otherwise)
    if len(title) <= _TITLE_CHARACTERS_MAX:
        return title
    return f"{title[: _TITLE_CHARACTERS_MAX - 3].rstrip()}..."

"""Turn one fact into one email in the customer's language. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected
from schemas.orders import (
    ActivationDelayed,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import Contact
from schemas.surplus import SurplusCredited, SurplusReturned
from services.notifier.emails.content import compose
from services.notifier.emails.figures import Figures
from services.notifier.emails.greeting import greeting_name
from services.notifier.emails.house import NOBODY, House
from services.notifier.emails.layout import html_of, text_of
from services.notifier.emails.locales import locale_of, zone_of
from services.notifier.emails.wording import VERSIONS, WORDING, Wording

TEMPLATE_OF: Final[Mapping[type[Event], str]] = MappingProxyType(
    {
        PlanActivated: "renewal_confirmed",
        PaymentFailed: "payment_failed",
        WalletToppedUp: "top_up_confirmed",
        ActivationDelayed: "activation_delayed",
        RefundCompleted: "refund_completed",
        LowBalanceDetected: "low_balance",
        SurplusReturned: "surplus_returned",
        SurplusCredited: "surplus_credited",
    }
)


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """One email, ready for a mail client: `locale` is zh-Hans, zh-Hant or en."""

    subject: str
    text: str
    html: str
    template: str
    template_version: str
    locale: str


def render(
    event: Event, contact: Contact, listed: Sequence[str] = (), house: House = NOBODY
) -> RenderedEmail:
    """Write the email about `event` to `contact` for `house`, in its language and time zone.

    `listed` are the orders of other facts of its kind that were held back and get no email of
    their own, "" for one without an order.

    Raises:
        TypeError: the type of `event` is not in `TEMPLATE_OF`.
    """
    locale = locale_of(contact)
    words = WORDING[locale]
    content = compose(event, Figures(words, zone_of(contact)), listed, house)
    template = TEMPLATE_OF[type(event)]
    greeting = _greeting(contact, words)
    return RenderedEmail(
        subject=content.subject,
        text=text_of(content, greeting, words),
        html=html_of(content, greeting, words),
        template=template,
        template_version=VERSIONS[template].version,
        locale=locale,
    )


def _greeting(contact: Contact, words: Wording) -> str:
    name = greeting_name(contact.name)
    return words.greeting if name is None else words.greeting_by_name.format(name=name)

"""Turn one fact into one email in the customer's language. Pure: no clock, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.envelope import Event
from schemas.requests import Contact
from services.notifier.channels.email.texts.content import compose
from services.notifier.channels.email.texts.house import NOBODY, House
from services.notifier.channels.email.texts.layout import html_of, text_of
from services.notifier.channels.email.texts.wording import VERSIONS, WORDING, Wording
from services.notifier.notification.templates import TEMPLATE_OF
from services.notifier.wording.figures import Figures
from services.notifier.wording.greeting import greeting_name
from services.notifier.wording.locales import locale_of, zone_of


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

"""What an SMS says: as reviewed, short, without a name, and nothing in it that a stranger can use."""

from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import PaymentFailed, PlanActivated, RefundCompleted
from schemas.requests import Contact
from services.notifier.channels.sms.segments import segments_of
from services.notifier.channels.sms.texts import render
from services.notifier.channels.sms.texts.rendering import short_id
from services.notifier.channels.sms.texts.wording import VERSIONS, WORDING
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier_emails.facts import EVERY_CASE, LOCALES, case_id, contact, fact
from tests.unit.notifier_sms.sms_files import GOLDEN, fingerprint, golden_texts

LINK: Final = re.compile(r"://|www\.|@|\w\.[a-z]{2,}", re.IGNORECASE)
LONGEST: Final = Money(amount_minor=10**15 - 1, currency="USD")


def test_every_text_reads_as_it_was_reviewed() -> None:
    assert golden_texts() == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("template", TEMPLATE_OF.values())
def test_version_is_raised_when_the_words_change(template: str) -> None:
    assert VERSIONS[template].fingerprint == fingerprint(template), (
        "raise the version, run sms_files"
    )


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_a_text_takes_two_segments_at_most(event: Event, locale: str) -> None:
    assert segments_of(render(event, contact(locale)).text).count <= 2


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_what_others_choose_cannot_make_a_text_longer_than_three_segments(
    event: Event, locale: str
) -> None:
    changes: dict[str, object] = {}
    for name, value in event:
        if name == "plan_title" and value is not None:
            changes[name] = dict.fromkeys(("en", "zh-Hans", "zh-Hant"), "Wide " * 40)
        if name in {"renewal_id", "topup_id"} and value is not None:
            changes[name] = "x" * 64
        if isinstance(value, Money):
            changes[name] = LONGEST
    long = event.model_copy(update=changes)
    listed = ["order"] * 500
    assert segments_of(render(long, contact(locale), listed).text).count <= 3


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("currency", ["INR", "UAH", "NGN", "VND", "PLN", "ILS", "KRW", "THB"])
def test_a_sign_of_money_does_not_double_the_price_of_an_english_text(
    locale: str, currency: str
) -> None:
    event = fact(PaymentFailed).model_copy(
        update={"amount": Money(amount_minor=123456, currency=currency)}
    )
    text = render(event, contact(locale)).text
    if locale == "en":
        assert segments_of(text).encoding == "gsm7"
        assert currency in text


def test_a_text_greets_nobody() -> None:
    stranger = Contact(email="a@example.org", name="Call +19005550100 now", phone="+14155550100")
    for event, _ in EVERY_CASE:
        text = render(event, stranger).text
        assert "Call" not in text
        assert "4155550100" not in text


SPOKEN: Final = [
    *("+1-900-555-0100", "19005550100", "1 900 555 0100", "call.19005550100", "0900_123_4567"),
    *("evil.example.com", "https:evil", "www.evil.com", "a@b.com", "you-have-won-a-prize-call-us"),
    *("9.0.0.5.5.5.0.1.0.0", "order19005550100x", "x" * 25),
]


@pytest.mark.parametrize("order", SPOKEN)
@pytest.mark.parametrize("locale", LOCALES)
def test_an_order_id_is_neither_a_link_nor_a_number_to_call(order: str, locale: str) -> None:
    event = fact(RefundCompleted).model_copy(update={"renewal_id": order})
    text = render(event, contact(locale)).text
    assert order not in text
    assert LINK.search(text) is None


@pytest.mark.parametrize("order", ["rnw-2026-31", "R-1001", "a1b2c3", "订单7"])
def test_a_plain_order_id_is_shown(order: str) -> None:
    assert short_id(order) == order


@given(order=st.text(st.sampled_from("+0123456789-. _ax"), max_size=30))
def test_no_order_id_shows_seven_digits_that_a_phone_would_dial(order: str) -> None:
    shown = short_id(order)
    if shown == order:
        assert re.search(r"\d(?:[-. ]?\d){6,}", shown) is None
    else:
        assert re.fullmatch(r"#[0-9a-f]{12}", shown)


@pytest.mark.parametrize("title", ["Visit evil.com", "http://evil.example", "a@b.example"])
def test_a_title_that_holds_a_link_is_not_shown(title: str) -> None:
    event = fact(PlanActivated).model_copy(
        update={"plan_title": dict.fromkeys(("en", "zh-Hans", "zh-Hant"), title)}
    )
    for locale in LOCALES:
        assert title not in render(event, contact(locale)).text


@pytest.mark.parametrize("locale", LOCALES)
def test_what_was_held_back_is_counted(locale: str) -> None:
    event = fact(PaymentFailed)
    alone, more = render(event, contact(locale)), render(event, contact(locale), ["a", "b", "c"])
    assert more.text == alone.text + WORDING[locale].more.format(count=3)

"""What tells good from bad at a glance, who sold, the one button, and lines that do not break."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Final

import pytest

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.ledger import LowBalanceDetected
from schemas.orders import ActivationDelayed, PaymentFailed, PlanActivated, WalletToppedUp
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.house import House
from services.notifier.channels.email.texts.wording import WORDING
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier_emails.facts import (
    EVERY_CASE,
    HOUSE,
    LOCALES,
    amount,
    case_id,
    contact,
    fact,
    failed_top_up,
)

SIGNS: Final = {
    PaymentFailed: "✗",
    ActivationDelayed: "!",
    LowBalanceDetected: "!",
    PaymentActionRequired: "!",
}
ASKING: Final = (PaymentFailed, LowBalanceDetected)
NO_RECEIPT: Final = (PaymentFailed, LowBalanceDetected, ActivationDelayed, PaymentActionRequired)


def heading(html: str) -> str:
    found = re.search(r"<h1 [^>]*>(.*?)</h1>", html)
    assert found
    return unescape(found[1])


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_subject_and_heading_begin_with_a_sign_that_needs_no_colour(
    event: Event, locale: str
) -> None:
    email = render(event, contact(locale), (), HOUSE)
    sign = SIGNS.get(type(event), "✓")
    assert email.subject.startswith(f"{sign} ")
    assert heading(email.html).startswith(f"{sign} ")


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_receipt_names_the_seller_and_other_letters_do_not(event: Event, locale: str) -> None:
    labels = WORDING[locale].labels
    row = WORDING[locale].row
    email = render(event, contact(locale), (), HOUSE)
    lines = [
        row.format(label=labels.seller, value="Shop & Co. Ltd."),
        row.format(label=labels.seller_address, value="1 Harbour Road, Hong Kong"),
        row.format(label=labels.seller_tax_number, value="HK-1234567"),
    ]
    is_receipt = not isinstance(event, NO_RECEIPT)
    for line in lines:
        assert (line in email.text.splitlines()) == is_receipt
    assert (">Shop &amp; Co. Ltd.</td>" in email.html) == is_receipt
    unset = render(event, contact(locale))
    assert labels.seller_tax_number not in unset.text + unescape(unset.html)


def test_a_seller_without_a_tax_number_has_no_empty_line() -> None:
    email = render(fact(PlanActivated), contact(), (), replace(HOUSE, seller_tax_number=""))
    assert "Seller: Shop & Co. Ltd." in email.text
    assert "tax number" not in email.text


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_one_button_where_there_is_something_to_do_and_none_without_a_link(
    event: Event, locale: str
) -> None:
    email = render(event, contact(locale), (), HOUSE)
    links = re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', email.html)
    label = WORDING[locale].button
    if isinstance(event, ASKING):
        assert [(unescape(url), unescape(words)) for url, words in links] == [
            (HOUSE.app_url, label)
        ]
        assert f"\n{label}:\n{HOUSE.app_url}\n" in email.text
    elif isinstance(event, PaymentActionRequired):
        label = WORDING[locale].pay_button
        assert [(unescape(url), unescape(words)) for url, words in links] == [
            (event.pay_link, label)
        ]
        assert f"\n{label}:\n{event.pay_link}\n" in email.text
        assert render(event, contact(locale)) == email
        return
    else:
        assert links == []
        assert str(HOUSE.app_url) not in email.text
    unset = render(event, contact(locale), (), replace(HOUSE, app_url=None))
    assert "<a " not in unset.html
    assert "http" not in unset.html + unset.text


def test_failure_of_a_renewal_names_its_plan_and_that_of_a_top_up_none() -> None:
    text = render(fact(PaymentFailed), contact()).text
    assert "Plan: Japan monthly plan, Premium, 30 GB" in text
    older = render(fact(PaymentFailed, plan_title=None), contact())
    assert "Plan:" not in older.text
    assert "Plan:" not in render(failed_top_up(plan_title=None), contact()).text


def test_top_up_names_its_bonus() -> None:
    told = render(fact(WalletToppedUp, bonus=amount(500, "USD")), contact()).text
    assert "Bonus credit: $5.00 USD" in told
    assert "Bonus credit" not in render(fact(WalletToppedUp, bonus=None), contact()).text


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_no_line_can_break_within_an_amount_or_before_an_offset(event: Event, locale: str) -> None:
    email = render(event, contact(locale), (), HOUSE)
    values = [unescape(each) for each in re.findall(r"<td class=\"ink[^>]*>(.*?)</td>", email.html)]
    shown = "".join(values)
    assert not re.search(r"\d (USD|JPY|CNY|EUR|HKD|TWD)", shown)
    assert not re.search(r"(^|[^\u2060])（UTC| \(UTC", shown)
    if "UTC" in shown:
        assert re.search(r"\d\u00a0\(UTC|\d\u2060（UTC", shown)
    # Plain text is wrapped before it is sent, and a subject is one line.
    for text in (email.text, email.subject):
        assert "\u00a0" not in text
        assert "\u2060" not in text


@pytest.mark.parametrize("locale", LOCALES)
def test_amounts_do_not_break_in_plain_text_either(locale: str) -> None:
    for minor in range(1, 10**9, 41_234_567):
        event = fact(LowBalanceDetected, balance=amount(minor, "USD"))
        text = render(event, contact(locale)).text
        assert not re.search(r"\d\nUSD|\$\n", text)


def test_english_stays_legible_in_the_bytes_of_a_message() -> None:
    for model in TEMPLATE_OF:
        email = render(fact(model), contact(), (), HOUSE)
        assert email.text.isascii()
        assert email.html.isascii()


def test_nothing_of_the_house_becomes_markup() -> None:
    hostile = House("<b>x</b>", '"><script>', "'&", 'https://a.example/"onclick=x')
    html = render(fact(PlanActivated), contact(), (), hostile).html
    html += render(fact(PaymentFailed), contact(), (), hostile).html
    assert "<b>" not in html
    assert "<script" not in html
    assert '"onclick' not in html

"""Amounts are exact in their currency; moments are the customer's own."""

from __future__ import annotations

from html import unescape

import pytest

from schemas.ledger import LowBalanceDetected
from schemas.orders import PaymentFailed, PlanActivated
from services.notifier.channels.email.texts import render
from services.notifier.wording.locales import locale_of
from tests.unit.notifier_emails.facts import LOCALES, amount, contact, fact


@pytest.mark.parametrize(
    ("minor", "currency", "english", "simplified", "traditional"),
    [
        (123_456, "CNY", "CN¥1,234.56", "¥1,234.56", "CN¥1,234.56"),
        (3_180, "USD", "$31.80 USD", "US$31.80", "US$31.80"),
        (5, "EUR", "€0.05", "€0.05", "€0.05"),
        (1_500, "HKD", "HK$15.00", "HK$15.00", "HK$15.00"),
        (290, "JPY", "¥290 JPY", "JP¥290", "¥290 JPY"),
        (1_234, "BHD", "BHD 1.234", "BHD 1.234", "BHD 1.234"),
        (50_000, "TWD", "NT$500.00", "NT$500.00", "$500.00 TWD"),
        (0, "JPY", "¥0 JPY", "JP¥0", "¥0 JPY"),
        (10**15, "USD", "$10,000,000,000,000.00 USD", "US$10,000,000,000,000.00", None),
    ],
)
def test_money_is_exact_and_names_its_currency(
    minor: int, currency: str, english: str, simplified: str, traditional: str | None
) -> None:
    event = fact(PaymentFailed, amount=amount(minor, currency))
    expected = zip(("en", "zh-Hans", "zh-Hant"), (english, simplified, traditional), strict=True)
    for locale, text in expected:
        email = render(event, contact(locale))
        shown = text or simplified
        assert shown in email.subject
        assert f"{shown}\n" in email.text
        bound = shown.replace(" ", "\u00a0")
        assert f">{bound}</td>" in unescape(email.html)


@pytest.mark.parametrize(
    ("time_zone", "english", "chinese"),
    [
        ("UTC", "20 November 2026, 09:23 (UTC)", "2026年11月20日 09:23（UTC）"),
        ("Asia/Shanghai", "20 November 2026, 17:23 (UTC+8)", "2026年11月20日 17:23（UTC+8）"),
        ("Asia/Kolkata", "20 November 2026, 14:53 (UTC+5:30)", "2026年11月20日 14:53（UTC+5:30）"),
        ("America/St_Johns", "20 November 2026, 05:53 (UTC-3:30)", None),
        ("Pacific/Kiritimati", "20 November 2026, 23:23 (UTC+14)", None),
        ("Pacific/Pago_Pago", "19 November 2026, 22:23 (UTC-11)", None),
        ("Mars/Olympus_Mons", "20 November 2026, 09:23 (UTC)", None),
        ("../../etc/passwd", "20 November 2026, 09:23 (UTC)", None),
        ("Asia", "20 November 2026, 09:23 (UTC)", None),
        ("localtime", "20 November 2026, 09:23 (UTC)", None),
    ],
)
def test_moment_is_on_the_customers_clock(
    time_zone: str, english: str, chinese: str | None
) -> None:
    event = fact(LowBalanceDetected)
    assert english in render(event, contact(time_zone=time_zone)).text
    if chinese is not None:
        assert chinese in render(event, contact("zh-Hans", time_zone=time_zone)).text
        assert chinese in render(event, contact("zh-Hant", time_zone=time_zone)).text


def test_summer_time_is_that_of_each_moment() -> None:
    event = fact(
        PlanActivated,
        valid_from="2026-10-20T08:00:00.000000Z",
        valid_until="2026-11-20T08:00:00.000000Z",
    )
    text = render(event, contact(time_zone="Europe/Berlin")).text
    assert "Valid from: 20 October 2026, 10:00 (UTC+2)" in text
    assert "Valid until: 20 November 2026, 09:00 (UTC+1)" in text


@pytest.mark.parametrize(
    ("tag", "locale"),
    [
        *((each, each) for each in LOCALES),
        *((each, "zh-Hans") for each in ("zh", "zh-CN", "ZH-cn", "zh_CN.UTF-8", "zh-SG", "zh-MY")),
        *((each, "zh-Hans") for each in ("zh-Hans-HK", "cmn", "cmn-Hans-CN", "zh-CHS")),
        *((each, "zh-Hans") for each in ("zh-CHS-HK", "zh-MO-Hans")),
        *((each, "zh-Hant") for each in ("zh-TW", "zh_tw", "zh-HK", "zh-MO", "zh-CHT")),
        *((each, "zh-Hant") for each in ("zh-Hant-CN", "yue", "yue-HK", "zh-yue", "zh-cmn-Hant")),
        *((each, "en") for each in ("en-GB", "en_US", "fr", "ja-JP", "zha", "x-klingon")),
        *((each, "en") for each in ("??", "--", "  ", "english please")),
    ],
)
def test_language_is_the_nearest_to_the_contacts_tag(tag: str, locale: str) -> None:
    assert locale_of(contact(tag)) == locale
    assert render(fact(LowBalanceDetected), contact(tag)).locale == locale

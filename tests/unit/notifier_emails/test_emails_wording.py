"""Each language says all that the others say, and every fact of the event that concerns people."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Event
from schemas.orders import (
    ActivationDelayed,
    DeclineReason,
    PaymentFailed,
    PlanActivated,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCredited, SurplusReason, SurplusReturned
from services.notifier.channels.email.texts import render, wording
from services.notifier.channels.email.texts.wording import WORDING, Wording
from tests.unit.notifier_emails.facts import (
    EVERY_FACT,
    HOUSE,
    LOCALES,
    amount,
    contact,
    fact,
    failed_top_up,
)

Words = dict[str, str]
_FOLDER: Final = Path(wording.__file__).parent / "languages"
_SETTINGS: Final = {"home_currency", "wrap_at", "fonts"}
_SIMPLIFIED_ONLY: Final = "账户订单会这为们后续开请发内帐时间钱余额额单号现银网络过"
_TRADITIONAL_ONLY: Final = "帳戶訂單會這為們後續開請發內時間錢餘額號現銀網絡過"


def _file(locale: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{locale}.toml").read_text(encoding="utf-8"))


def _phrases(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _phrases(inner, f"{key}.{name}".strip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _phrases(inner, key)
    elif isinstance(value, str):
        yield key, value


def _placeholders(locale: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, phrase in _phrases(_file(locale)):
        names = {name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None}
        found[key] = found.get(key, set()) | names
    return found


def _all_texts(locale: str) -> str:
    events: list[Event] = [
        *EVERY_FACT,
        failed_top_up(),
        fact(PaymentActionRequired, renewal_id=None, topup_id="top-7"),
        *(fact(PaymentFailed, reason=reason) for reason in DeclineReason),
        *(fact(PaymentFailed, method=method) for method in PaymentMethod),
        _refund_into_the_wallet(),
        *(fact(SurplusReturned, reason=reason) for reason in SurplusReason),
        *(fact(SurplusCredited, reason=reason) for reason in SurplusReason),
        fact(PlanActivated, quantity=3),
    ]
    emails = [
        render(event, contact(locale, named=named), (), HOUSE)
        for event in events
        for named in (True, False)
    ]
    emails.append(render(EVERY_FACT[0], contact(locale), ("rnw-7",)))
    return "".join(f"{each.subject}{each.text}{each.html}" for each in emails)


def _refund_into_the_wallet() -> Event:
    refund = {
        "net": amount(2_700, "USD"),
        "tax": amount(180, "USD"),
        "tax_jurisdiction": "US",
        "bonus": amount(300, "USD"),
    }
    return fact(RefundCompleted, method="wallet", refund=refund)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language_has_the_same_keys_and_facts(locale: str) -> None:
    assert _placeholders(locale) == _placeholders("en")


def test_file_without_a_reason_or_with_an_unknown_key_does_not_load() -> None:
    words = _file("en") | {"locale": "en"}
    reasons = {key: value for key, value in words["reasons"].items() if key != "bank_limit"}
    with pytest.raises(ValidationError, match="bank_limit"):
        Wording.model_validate(words | {"reasons": reasons})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Wording.model_validate(words | {"left_over": "words"})


@pytest.mark.parametrize("pattern", ["HH:mm:ss", "HH:mm:ss.SSS", ""])
def test_a_moment_is_not_written_finer_than_its_minute(pattern: str) -> None:
    with pytest.raises(ValidationError, match="date_time"):
        Wording.model_validate(_file("en") | {"locale": "en", "date_time": pattern})


@pytest.mark.parametrize("locale", LOCALES)
def test_no_phrase_is_dead(locale: str) -> None:
    shown = " ".join(_all_texts(locale).split())
    shown += unescape(shown)
    for key, phrase in _phrases(_file(locale)):
        if key in _SETTINGS or key == "date_time":
            continue
        for fragment in re.split(r"\{\w+\}", phrase):
            words = " ".join(fragment.split())
            assert words in shown or words.replace("'", "&#39;") in shown, key


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("reason", DeclineReason)
def test_each_reason_is_explained_with_what_to_do_next(reason: str, locale: str) -> None:
    words = WORDING[locale].reasons[DeclineReason(reason)]
    html = render(fact(PaymentFailed, reason=reason), contact(locale)).html
    assert words.why.replace("'", "&#39;") in html
    assert words.what_next in html
    assert f">{reason}" not in html


@pytest.mark.parametrize("locale", LOCALES)
def test_reasons_differ_from_each_other(locale: str) -> None:
    reasons = [*WORDING[locale].reasons.values(), WORDING[locale].wallet_insufficient_funds]
    assert len({each.why for each in reasons}) == len(DeclineReason) + 1


def test_empty_wallet_is_not_called_a_bank_account() -> None:
    event = fact(PaymentFailed, method="wallet", reason="insufficient_funds")
    text = render(event, contact()).text
    assert "Your wallet balance does not cover this amount." in text
    assert "account you paid from" not in text


def test_failed_top_up_is_not_called_a_renewal() -> None:
    text = render(failed_top_up(), contact()).text
    assert "wallet top-up. Nothing was charged." in " ".join(text.split())
    assert "Top-up number: top-7" in text
    assert "renewal" not in text


def test_receipt_holds_what_the_event_says() -> None:
    text = render(fact(PlanActivated, quantity=3, payment_method="paypal"), contact()).text
    expected = (
        "Plan: Japan monthly plan, Premium, 30 GB",
        "Number of periods: 3",
        "Price before tax: $30.00 USD",
        "Tax: $1.80 USD",
        "Total: $31.80 USD",
        "Payment method: PayPal",
        "Order number: rnw-2026-000317",
        "Activated: 20 November 2026, 03:34 (UTC-5)",
    )
    assert [line for line in expected if line not in text.splitlines()] == []


def test_single_period_and_absent_bonus_take_no_line() -> None:
    assert "Number of periods" not in render(fact(PlanActivated), contact()).text
    assert "Bonus" not in render(fact(RefundCompleted), contact()).text


def test_refund_into_the_wallet_names_the_bonus_and_no_bank() -> None:
    text = render(_refund_into_the_wallet(), contact()).text
    assert "Bonus credit: $3.00 USD\nTotal refund: $31.80 USD" in text
    assert "back in your wallet" in text
    assert "bank" not in text


def test_credit_without_an_end_promises_none() -> None:
    text = render(fact(WalletToppedUp, expires_at=None), contact()).text
    assert "valid until" not in text


@pytest.mark.parametrize(
    ("titles", "plan"),
    [
        ({"zh-Hans": "简", "zh-Hant": "繁", "en": "E"}, "繁"),
        ({"zh-Hans": "简", "en": "E"}, "简"),
        ({"en": "E"}, "E"),
        ({"zh-Hant": " ", "en": "E"}, "E"),
        ({"fr": "F"}, "rnw-2026-000317"),
        ({}, "rnw-2026-000317"),
    ],
)
def test_plan_is_named_in_the_nearest_language(titles: dict[str, str], plan: str) -> None:
    email = render(fact(ActivationDelayed, plan_title=titles), contact("zh-Hant"))
    assert f"方案：{plan}\n" in email.text
    assert email.subject.endswith(f"：{plan}")


@pytest.mark.parametrize(
    ("locale", "foreign", "own"),
    [
        ("zh-Hans", "儲值|方案|帳戶|訂單|餘額|簡訊", ("充值", "套餐", "账户")),
        ("zh-Hant", "充值|套餐|账户|订单|余额|短信", ("儲值", "方案", "帳戶")),
    ],
)
def test_chinese_uses_the_words_of_its_readers(
    locale: str, foreign: str, own: tuple[str, ...]
) -> None:
    said = "".join(phrase for _, phrase in _phrases(_file(locale)))
    assert re.findall(foreign, said) == []
    assert [word for word in own if word not in said] == []


def test_scripts_are_not_mixed() -> None:
    simplified = "".join(phrase for _, phrase in _phrases(_file("zh-Hans")))
    traditional = "".join(phrase for _, phrase in _phrases(_file("zh-Hant")))
    assert set(simplified) & (set(_TRADITIONAL_ONLY) - set(_SIMPLIFIED_ONLY)) == set()
    assert set(traditional) & (set(_SIMPLIFIED_ONLY) - set(_TRADITIONAL_ONLY)) == set()


@pytest.mark.parametrize("locale", LOCALES)
def test_mail_for_several_counts_all_and_names_each_order_once_and_safely(locale: str) -> None:
    others = ("rnw-7", "rnw-8", "rnw-7", "", "visit-evil.example-and-pay-there-now")
    email = render(fact(PaymentFailed), contact(locale), others)
    words, lines = WORDING[locale], email.text.splitlines()
    assert words.row.format(label=words.labels.held_back, value="5") in lines
    assert "rnw-7, rnw-8, #" in email.text
    assert "evil" not in email.text + email.html
    assert words.labels.held_back not in render(fact(PaymentFailed), contact(locale)).text


@pytest.mark.parametrize("locale", LOCALES)
def test_what_bought_nothing_shows_neither_price_nor_tax(locale: str) -> None:
    labels = WORDING[locale].labels
    for model in (SurplusReturned, SurplusCredited):
        text = render(fact(model), contact(locale)).text
        rows = {line.split(":")[0].split("：")[0] for line in text.splitlines()}
        assert rows.isdisjoint({labels.net, labels.tax})


@pytest.mark.parametrize("locale", LOCALES)
def test_refund_of_money_that_bought_nothing_shows_neither_price_nor_tax(locale: str) -> None:
    whole = {"net": amount(999, "USD"), "tax": amount(0, "USD"), "bonus": amount(0, "USD")}
    refund = whole | {"tax_jurisdiction": "US"}
    labels = WORDING[locale].labels
    text = render(fact(RefundCompleted, amount=whole["net"], refund=refund), contact(locale)).text
    assert labels.refund_total in text
    assert labels.net not in text
    assert labels.tax not in text

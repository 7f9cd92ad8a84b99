"""Layouts that are rendered once say of every email what a rendering of its own would say."""

from __future__ import annotations

import textwrap
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.orders import PaymentFailed, PlanActivated
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.layout import wrapped
from services.notifier.wording.greeting import one_line
from tests.unit.notifier_emails.facts import LOCALES, contact, fact

SPACED = st.text(st.sampled_from("ab-é\u200d\u00a0 \t"), max_size=60)


@given(text=SPACED | st.text(max_size=60), width=st.integers(1, 40))
def test_text_is_wrapped_as_the_standard_library_wraps_it(text: str, width: int) -> None:
    expected = textwrap.fill(
        text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    assert wrapped(text, width, "  ") == expected


@given(text=SPACED | st.text(max_size=60))
def test_one_line_drops_what_cannot_be_seen_and_nothing_else(text: str) -> None:
    breaks, unseen = {"Cc", "Zl", "Zp"}, {"Cf", "Cs", "Co"}
    kept = "".join(
        " " if unicodedata.category(each) in breaks else each
        for each in text
        if each in "\u200c\u200d" or unicodedata.category(each) not in unseen
    )
    assert one_line(text) == " ".join(kept.split())


@pytest.mark.parametrize("locale", LOCALES)
def test_emails_of_one_form_share_nothing_but_the_form(locale: str) -> None:
    first = render(fact(PlanActivated, renewal_id="rnw-first"), contact(locale, name="First"))
    second = render(fact(PlanActivated, renewal_id="rnw-second"), contact(locale, name="Second"))
    for before, after in ((first.text, second.text), (first.html, second.html)):
        changed = before.replace("rnw-first", "rnw-second").replace("First", "Second")
        assert after == changed


def test_a_text_that_looks_like_a_gap_fills_none() -> None:
    email = render(fact(PlanActivated, plan_title={"en": "A\x002\x00B"}), contact())
    assert "Plan: A 2 B\n" in email.text
    assert ">A 2 B</td>" in email.html


def test_an_email_with_one_more_line_has_a_form_of_its_own() -> None:
    one = render(fact(PlanActivated, quantity=1), contact()).text.splitlines()
    three = render(fact(PlanActivated, quantity=3), contact()).text.splitlines()
    assert [line for line in three if line not in one] == ["Number of periods: 3"]


def test_moments_in_one_minute_read_the_same_and_the_next_one_does_not() -> None:
    texts = [
        render(fact(PaymentFailed, failed_at=f"2026-11-20T08:{moment}Z"), contact()).text
        for moment in ("33:00", "33:59.999999", "34:00")
    ]
    assert texts[0] == texts[1]
    assert texts[1] != texts[2]

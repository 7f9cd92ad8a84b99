"""Every email is the one that was reviewed, and says which version of its template it is."""

from __future__ import annotations

import difflib

import pytest

from schemas.envelope import Event
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.wording import VERSIONS
from services.notifier.notification.templates import TEMPLATE_OF
from tests.unit.notifier_emails.facts import EVERY_CASE, EVERY_FACT, case_id, contact
from tests.unit.notifier_emails.golden_files import FOLDER, fingerprint, golden_emails

EMAILS = golden_emails()


@pytest.mark.parametrize("name", sorted(EMAILS))
def test_email_reads_as_reviewed(name: str) -> None:
    reviewed = (FOLDER / name).read_text(encoding="utf-8")
    diff = difflib.unified_diff(
        reviewed.splitlines(), EMAILS[name].splitlines(), "reviewed", "rendered", lineterm=""
    )
    assert EMAILS[name] == reviewed, f"{name} changed: see golden_files.py\n" + "\n".join(diff)


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(EMAILS)


@pytest.mark.parametrize("template", TEMPLATE_OF.values())
def test_changed_words_or_layout_ask_for_a_new_version(template: str) -> None:
    assert VERSIONS[template].fingerprint == fingerprint(template), (
        f"{template} changed: raise its version in versions.toml, then see golden_files.py"
    )


def test_every_template_has_a_version() -> None:
    assert set(VERSIONS) == set(TEMPLATE_OF.values())


@pytest.mark.parametrize("event", EVERY_FACT, ids=case_id)
def test_email_names_its_template_version_and_locale(event: Event) -> None:
    email = render(event, contact("zh-TW"))
    template = TEMPLATE_OF[type(event)]
    expected = (template, VERSIONS[template].version, "zh-Hant")
    assert (email.template, email.template_version, email.locale) == expected


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_email_without_a_name_differs_only_in_the_greeting(event: Event, locale: str) -> None:
    named = render(event, contact(locale)).text.splitlines()
    unnamed = render(event, contact(locale, named=False)).text.splitlines()
    greeting = {"en": "Hello,", "zh-Hans": "您好：", "zh-Hant": "您好："}[locale]
    assert unnamed == [greeting, *named[1:]]
    assert named[0] != greeting


@pytest.mark.parametrize(("event", "locale"), EVERY_CASE, ids=case_id)
def test_same_fact_and_contact_give_the_same_email(event: Event, locale: str) -> None:
    assert render(event, contact(locale)) == render(event, contact(locale))

"""No word of a stranger, however long, makes an email wider than the screen of a phone."""

from __future__ import annotations

import re
from typing import Final

import pytest

from schemas.envelope import Event
from services.notifier.channels.email.texts import render
from services.notifier.channels.email.texts.house import House
from tests.unit.notifier_emails.facts import EVERY_FACT, LOCALES, case_id, contact, fact
from tests.unit.notifier_emails.test_emails_safety import Page

_LONG: Final = re.compile(r"\w{24,}", re.ASCII)
"""A line of 375 pixels has room for some 30 small letters."""
_BREAKS: Final = ("word-break:break-word", "display:none")
_NAME: Final = "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwaren"
_TITLE: Final = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk"
_ID: Final = "0123456789abcdef" * 4
_SELLER: Final = House("S" * 60, "A" * 60, "T" * 60)


class Screen(Page):
    """Reads an email's HTML and notes the long words that nothing allows to be broken."""

    def __init__(self, html: str) -> None:
        self.breaks: list[bool] = []
        self.broken: set[str] = set()
        self.unbroken: set[str] = set()
        super().__init__(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if len(self.open) > len(self.breaks):
            style = dict(attrs).get("style") or ""
            inherited = bool(self.breaks) and self.breaks[-1]
            said = any(each in style for each in _BREAKS)
            self.breaks.append(said or (inherited and "word-break:" not in style))

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        self.breaks.pop()

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if "body" in self.open:
            (self.broken if self.breaks[-1] else self.unbroken).update(_LONG.findall(data))


@pytest.mark.parametrize("event", EVERY_FACT, ids=case_id)
@pytest.mark.parametrize("locale", LOCALES)
def test_long_words_are_broken_wherever_they_stand(event: Event, locale: str) -> None:
    model = type(event)
    ids = {"renewal_id", "topup_id"} & {name for name, value in event if value is not None}
    changes: dict[str, object] = dict.fromkeys(ids, _ID)
    if "plan_title" in model.model_fields:
        changes["plan_title"] = {locale: _TITLE}
    screen = Screen(
        render(fact(model, **changes), contact(locale, name=_NAME), [_ID], _SELLER).html
    )
    assert not screen.unbroken
    assert {_NAME, _ID} <= screen.broken

"""Which language and time zone a contact's emails are in. Any tag gives an answer, never an error."""

from __future__ import annotations

import re
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from schemas.requests import Contact

LOCALES: Final = ("zh-Hans", "zh-Hant", "en")
_CHINESE: Final = frozenset({"zh", "cmn", "yue", "hak", "nan", "wuu"})
_SIMPLIFIED: Final = frozenset({"hans", "chs"})
_TRADITIONAL: Final = frozenset({"hant", "cht"})
_WRITES_TRADITIONAL: Final = frozenset({"tw", "hk", "mo", "yue"})
"""Regions, and one language, that write traditional characters when no script is named."""


def locale_of(contact: Contact) -> str:
    """Return `zh-Hans`, `zh-Hant` or `en`: the nearest to the BCP 47 tag of `contact`.

    A named script wins over a region; Chinese of a region not known to write traditional
    characters is simplified; every other language is answered in English.
    """
    language, *rest = re.split(r"[-_.@]", contact.locale.strip().lower())
    if language not in _CHINESE:
        return "en"
    parts = (language, *rest)
    for part in parts:
        if part in _SIMPLIFIED:
            return "zh-Hans"
        if part in _TRADITIONAL:
            return "zh-Hant"
    return "zh-Hans" if _WRITES_TRADITIONAL.isdisjoint(parts) else "zh-Hant"


def zone_of(contact: Contact) -> ZoneInfo:
    """Return the IANA time zone of `contact`, or UTC when there is none of that name."""
    return _zone(contact.time_zone if contact.time_zone in _zone_names() else "UTC")


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)

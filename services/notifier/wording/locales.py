"""Which language and time zone a contact's emails are in. Any tag gives an answer, never an error."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from schemas.requests import Contact

_OFFSET: Final = re.compile(r"(?:GMT|UTC)([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII)
_OFFSET_MAX: Final = timedelta(hours=14)
_MINUTES_MAX: Final = 59
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


def zone_named(name: str) -> tzinfo | None:
    """Return the time zone of that name, or None.

    A name is one of tzdata, links and legacy names with it, where `Etc/GMT-8` lies east; or an
    offset such as `GMT+8` or `UTC+05:30`, as people and Java write it: it lies east too.
    """
    if name in _zone_names():
        return _zone(name)
    offset = _OFFSET.fullmatch(name)
    if offset is None:
        return None
    hours, minutes = int(offset[2]), int(offset[3] or 0)
    if minutes > _MINUTES_MAX or timedelta(hours=hours, minutes=minutes) > _OFFSET_MAX:
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(ahead if offset[1] == "+" else -ahead)


def zone_of(contact: Contact) -> tzinfo:
    """Return the time zone of `contact`, or UTC when there is none of that name."""
    return zone_named(contact.time_zone) or UTC


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)

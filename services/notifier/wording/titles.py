"""What a plan is called in a language, or in one that its readers understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.notifier.wording.greeting import holds_link, one_line

_RELATED: Final = {"zh-Hans": "zh-Hant", "zh-Hant": "zh-Hans", "en": "en"}


def title_in(titles: Mapping[str, str], locale: str) -> str:
    """Return the title in `locale`, a related one or English; "" where none can be shown."""
    for each in (locale, _RELATED[locale], "en"):
        title = one_line(titles.get(each, ""))
        if title and not holds_link(title):
            return title
    return ""

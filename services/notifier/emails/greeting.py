"""The customer's name, made safe to greet with: it is the one free text that a stranger chose."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

NAME_CHARACTERS_MAX: Final = 64
_JOINERS: Final = frozenset("\u200c\u200d")
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
_LINK: Final = re.compile(r"://|www\.|@|\w\.[^\W\d_]{2,}", re.IGNORECASE)


def one_line(text: str) -> str:
    """Return `text` without control, direction and invisible characters, spaces collapsed.

    The joiners stay: Persian, Hindi and emoji are spelt with them.
    """
    if text.isprintable():  # then none of these is in it, which is much quicker to find out
        return " ".join(text.split())
    kept = (
        " " if unicodedata.category(each) in {"Cc", "Zl", "Zp"} else each
        for each in text
        if each in _JOINERS or unicodedata.category(each) not in {"Cf", "Cs", "Co"}
    )
    return " ".join("".join(kept).split())


def greeting_name(name: str | None) -> str | None:
    """Return the name to greet with, or None when a greeting without one is better.

    A name that mail clients would turn into a link, or one as long as a message, is not used. A
    name written from right to left is isolated, so that the punctuation after it stays in place.
    """
    shown = one_line(name or "")
    speaks = any(each.isalnum() for each in shown)
    if not speaks or len(shown) > NAME_CHARACTERS_MAX or _LINK.search(shown):
        return None
    if any(unicodedata.bidirectional(each) in _RIGHT_TO_LEFT for each in shown):
        return f"\u2068{shown}\u2069"
    return shown

"""Names and ids that a stranger chose, made safe to show: neither a link nor a message of theirs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

NAME_CHARACTERS_MAX: Final = 64
NAME_WORDS_MAX: Final = 6
_SPEAKING_WORDS: Final = 3
"""From so many words on, one in small letters that is no particle makes a sentence."""
_IN_NAMES: Final = frozenset(" '\u2019\"-\u2010.,&\u00b7\u30fb")
_AROUND: Final = "'\u2019\"-.,&"
_PARTICLES: Final = frozenset(
    (
        *("af", "al", "am", "an", "auf", "av", "ben", "bin", "bint", "da", "dal", "das", "de"),
        *("degli", "dei", "del", "della", "den", "der", "des", "di", "dos", "du", "e", "el"),
        *("ibn", "la", "las", "le", "los", "ng", "of", "ter", "und", "van", "vom", "von", "y"),
        *("zu", "zum", "zur"),
    )
)
_CALLS: Final = frozenset(
    (
        *("account", "bank", "bonus", "call", "claim", "click", "code", "confirm", "free", "gift"),
        *("here", "http", "https", "install", "invoice", "login", "now", "password", "pay"),
        *("prize", "refund", "unlock", "urgent", "verify", "visit", "win", "winner", "won", "you"),
        *("helpdesk", "notice", "security", "service", "support", "warning", "your"),
        *("clic", "cuenta", "gratis", "haga", "haz", "llama", "llame", "premio", "urgente"),
        *("appelez", "cliquez", "compte", "gratuit", "konto", "kostenlos", "urgent", "votre"),
        *("ваш", "ваша", "выигрыш", "заблокирован", "нам", "перейдите", "позвоните", "срочно"),
        *("приз", "счет", "счёт", "бесплатно"),
    )
)
"""Words of those who want something; none is a common name."""
_HAN_CALLS: Final = re.compile("中奖|中獎|点击|點擊|客服|账户|帳戶|冻结|凍結|免费|免費|领取|領取")
_MARKS_MAX: Final = 3
_SYMBOLS_MAX: Final = 2
_HAN: Final = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]+")
_HAN_MAX: Final = 6
_LETTERS: Final = re.compile(r"[A-Za-z]{4,}")
_HEX: Final = re.compile(r"[A-Fa-f]+")
_ID_WORDS_MAX: Final = 3
_JOINERS: Final = frozenset("\u200c\u200d")
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
_LINK: Final = re.compile(r"://|www\.|@|\w\.[^\W\d_]{2,}|[^\W\d_]:[^\W\d_]", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[^\W\d_]{4,}\.(\s|$)|,\s.*,\s|\.\.")


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

    What is longer than a name, or says something, is not used: a stranger chose it, and we sign
    it. A name written from right to left is isolated, so that what follows it stays in place.
    """
    shown = one_line(name or "")
    if not shown or len(shown) > NAME_CHARACTERS_MAX or not _is_name(shown):
        return None
    if any(unicodedata.bidirectional(each) in _RIGHT_TO_LEFT for each in shown):
        return f"\u2068{shown}\u2069"
    return shown


def _is_name(text: str) -> bool:
    symbols = marks = 0
    for each in text:
        category = unicodedata.category(each)
        marks = marks + 1 if category == "Mn" else 0
        symbols += category == "So"
        if category[0] not in "LM" and category != "So" and each not in _IN_NAMES | _JOINERS:
            return False
        if marks > _MARKS_MAX or symbols > _SYMBOLS_MAX:
            return False
    words = text.split()
    if len(words) > NAME_WORDS_MAX or not any(each.isalpha() for each in text):
        return False
    if _LINK.search(text) or _SENTENCE_END.search(text):
        return False
    plain = [word.strip(_AROUND).casefold() for word in words]
    if _HAN_CALLS.search(text):
        return False
    if not _CALLS.isdisjoint(plain) or any(len(run) > _HAN_MAX for run in _HAN.findall(text)):
        return False
    lower = [word for word in plain[1:] if word in text.split() and word not in _PARTICLES]
    return len(words) < _SPEAKING_WORDS or not any(word.islower() for word in lower)


def holds_link(text: str) -> bool:
    """Say whether mail clients would turn part of `text` into a link."""
    return _LINK.search(text) is not None


def shown_id(text: str) -> str:
    """Return an order's id as it may stand in an email: upstream chose it, and it may speak.

    One that clients would turn into a link, or with many words in it, is shown as `#` and the first
    12 hexadecimal digits of its SHA-256.
    """
    spoken = [run for run in _LETTERS.findall(text) if not _HEX.fullmatch(run)]
    if _LINK.search(text) or "www" in text.lower() or len(spoken) > _ID_WORDS_MAX:
        return f"#{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return text

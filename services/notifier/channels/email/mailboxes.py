"""Which mailbox an address leads to: the same for all spellings of the address. PURE."""

from __future__ import annotations

import unicodedata
from typing import Final

_DOTLESS: Final = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}
"""Domains of which the provider says that dots before the @ mean nothing, by their one name."""


def plain_mailbox(address: str) -> str:
    """Return the spelling of the mailbox that `address` leads to, the same for all its spellings.

    Whoever asks for mail chooses the spelling: case, compatibility forms, the writing of the
    domain, and what follows a plus sign (RFC 5233) tell no two mailboxes from each other.
    """
    local_part, _, domain = unicodedata.normalize("NFKC", address).casefold().rpartition("@")
    domain = _ascii_domain(domain)
    local_part = local_part.partition("+")[0] or local_part
    if domain in _DOTLESS:
        domain, local_part = _DOTLESS[domain], local_part.replace(".", "")
    return f"{local_part}@{domain}"


def _ascii_domain(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return domain

"""Spellings of an address that lead to one mailbox have one hash; others have others."""

from __future__ import annotations

import pytest

from services.notifier.channels.email.mailboxes import plain_mailbox
from services.notifier.limits.recipients import recipient_hash

KEY = bytes(31)


def mailbox_hash(address: str, key: bytes) -> bytes:
    return recipient_hash(plain_mailbox(address), key)


@pytest.mark.parametrize(
    "spelling",
    [
        "lin@example.org",
        "Lin@EXAMPLE.org",
        "lin+plans@example.org",
        "lin+plans+2026@example.org",
        "\uff4c\uff49\uff4e@example.org",
    ],
)
def test_spellings_of_one_mailbox_are_one(spelling: str) -> None:
    assert plain_mailbox(spelling) == "lin@example.org"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lin@b\u00fccher.example", "lin@xn--bcher-kva.example"),
        ("l.i.n@gmail.com", "LIN+x@googlemail.com"),
        ("\u5c0f\u96e8@example.org", "\u5c0f\u96e8+1@example.org"),
        ("STRASSE@example.org", "stra\u00dfe@example.org"),
    ],
)
def test_what_providers_and_standards_call_the_same_is_the_same(one: str, other: str) -> None:
    assert mailbox_hash(one, KEY) == mailbox_hash(other, KEY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("l.in@example.org", "lin@example.org"),
        ("lin-plans@example.org", "lin@example.org"),
        ("lin@example.org", "lin@example.net"),
        ("+one@example.org", "+two@example.org"),
    ],
)
def test_different_people_are_not_taken_for_one(one: str, other: str) -> None:
    assert mailbox_hash(one, KEY) != mailbox_hash(other, KEY)


@pytest.mark.parametrize("text", ["", "@", "no address", "lin@", "lin@..", "\ud800@\ud800"[:1]])
def test_any_text_has_a_mailbox(text: str) -> None:
    assert "@" in plain_mailbox(text)


def test_the_hash_depends_on_the_key_and_shows_no_address() -> None:
    found = mailbox_hash("lin@example.org", KEY)
    assert len(found) == 16
    assert found != mailbox_hash("lin@example.org", bytes(30) + b"1")

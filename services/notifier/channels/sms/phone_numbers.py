"""Whether a phone number can be written to: E.164, of a country that exists, with no charge for us."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
"""ITU-T E.164, 6.2: a country code and at most 15 digits in all."""
_CHARGING: Final = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST})
"""Whoever names one of these is paid for what is sent to it."""


def phone_number(text: str) -> str | None:
    """Return the number in the form of E.164, or None when nothing can be sent to it.

    A number is taken when its country has numbers of this length. Whether it is in use changes
    every week, and is for the carrier to say.
    """
    if _E164.fullmatch(text) is None:
        return None
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    if phonenumbers.number_type(number) in _CHARGING:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

"""How many segments an SMS takes, which is what it costs (3GPP TS 23.038 and 23.040). PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Encoding = Literal["gsm7", "ucs2"]
_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""TS 23.038, 6.2.1: the default alphabet, but for the escape to the extension table."""
_EXTENSION: Final = frozenset("\f^{}\\[~]|€")
"""TS 23.038, 6.2.1.1: an escape and a character, so they count twice."""
_SEPTETS: Final = (160, 153)
_UCS2_UNITS: Final = (70, 67)
"""Of a message in one segment, and of each segment of a longer one: six octets are its header."""
_LAST_OF_ONE_UNIT: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text is written on the air, and in how many segments."""

    encoding: Encoding
    count: int


def segments_of(text: str) -> Segments:
    """Return the encoding and the number of segments of `text`; an empty one takes one.

    One character outside of the default alphabet has the whole text written in UCS-2.
    """
    if all(each in _BASIC or each in _EXTENSION for each in text):
        return Segments("gsm7", _count((1 + (each in _EXTENSION) for each in text), *_SEPTETS))
    return Segments(
        "ucs2", _count((1 + (ord(each) > _LAST_OF_ONE_UNIT) for each in text), *_UCS2_UNITS)
    )


def is_gsm7(text: str) -> bool:
    """Say whether `text` can be written in the default alphabet."""
    return segments_of(text).encoding == "gsm7"


def _count(units: Iterable[int], alone: int, each: int) -> int:
    """Count segments; what takes two units is never divided between two of them."""
    sizes = list(units)
    if sum(sizes) <= alone:
        return 1
    count, room = 0, 0
    for size in sizes:
        if size > room:
            count, room = count + 1, each
        room -= size
    return count

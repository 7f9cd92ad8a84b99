"""What an SMS costs: 3GPP TS 23.038 and 23.040, counted as the networks do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.channels.sms.segments import is_gsm7, segments_of

GSM = "abcÄÖ ÅΔ_@£$¥èé!?0123456789"
EXTENSION = "^{}\\[~]|€\f"


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", "gsm7", 1),
        ("a" * 160, "gsm7", 1),
        ("a" * 161, "gsm7", 2),
        ("a" * 306, "gsm7", 2),
        ("a" * 307, "gsm7", 3),
        ("a" * 158 + "€", "gsm7", 1),
        ("a" * 159 + "€", "gsm7", 2),
        ("€" * 80, "gsm7", 1),
        ("€" * 81, "gsm7", 2),
        # 153 is odd: an escape and its character stay together, so a segment holds 76 of them.
        ("€" * 152, "gsm7", 2),
        ("€" * 153, "gsm7", 3),
        ("a" * 152 + "€" + "a" * 10, "gsm7", 2),
        ("a" * 152 + "€" + "a" * 151, "gsm7", 2),
        ("a" * 152 + "€" + "a" * 152, "gsm7", 3),
        ("字" * 70, "ucs2", 1),
        ("字" * 71, "ucs2", 2),
        ("字" * 134, "ucs2", 2),
        ("字" * 135, "ucs2", 3),
        ("a" * 69 + "字", "ucs2", 1),
        ("a" * 70 + "字", "ucs2", 2),
        ("😀" * 35, "ucs2", 1),
        ("😀" * 36, "ucs2", 2),
        # 67 is odd, too: 33 pairs of surrogates to a segment.
        ("😀" * 66, "ucs2", 2),
        ("😀" * 67, "ucs2", 3),
        ("\u00a0", "ucs2", 1),
        ("`", "ucs2", 1),
        ("ç", "ucs2", 1),
        ("Ç", "gsm7", 1),
        ("\x1b", "ucs2", 1),
        ("\t", "ucs2", 1),
        ("\ud83d", "ucs2", 1),
    ],
)
def test_segments_are_counted_as_networks_do(text: str, encoding: str, count: int) -> None:
    segments = segments_of(text)
    assert (segments.encoding, segments.count) == (encoding, count)


@given(text=st.text(st.sampled_from(GSM + EXTENSION), max_size=500))
def test_a_gsm_text_takes_as_many_segments_as_its_septets_need_at_least(text: str) -> None:
    septets = sum(2 if each in EXTENSION else 1 for each in text)
    count = segments_of(text).count
    assert is_gsm7(text)
    assert count == 1 if septets <= 160 else -(-septets // 153) <= count <= -(-septets // 152)


@given(text=st.text(max_size=200))
def test_any_text_has_segments_and_utf16_says_how_many(text: str) -> None:
    segments = segments_of(text)
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if segments.encoding == "ucs2":
        assert segments.count == 1 if units <= 70 else -(-units // 67) <= segments.count
    assert segments.count >= 1

"""Values that an enemy would send, and changes to JSON documents and bytes. All from one `Random`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

CANARY: Final = "Kanarienvogel7"
"""Stands for personal data: it is in what is sent, and must be in no message."""

TIMES: Final = (
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:60Z",
    "0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-20T08:00:00+23:59",
    "2026-11-20T08:00:00-23:59", "2026-11-20T08:00:00+24:00", "-271821-04-20T00:00:00Z",
    "1700000000", "1700000000.5", "-1", "1e9", "99999999999999999999", "NaN", "Infinity",
    "2026-11-20 08:00:00Z", "2026-11-20T08:00:00,5Z", "2026-11-20", "20261120T080000Z",
    "2026-11-20T08:00:00", "2026-11-20T08:00:00.123456789123Z", "1970-01-01T00:00:00Z",
    "9998-12-31T23:59:59.999999Z", "٢٠٢٦-11-20T08:00:00Z", "P1D", "T", "Z",
)  # fmt: skip
NUMBERS: Final = (
    "0", "-0", "1", "-1", "1.0", "1.5", "1e2", "1e999", "-1e999", "NaN", "Infinity", "-Infinity",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "900000000000000", "900000000000001", "1e-400", "0.1", "9" * 5000, "1" + "0" * 400, "00", "+1",
)  # fmt: skip
_CHARACTERS: Final = (
    "a", "Z", "0", "-", "_", ".", ":", "/", "\\", '"', "'", "{", "}", "[", "]", ",", " ", "\n", "\r",
    "\t", "\0", "\x7f", "\x1b", "é", "漢", "🙂", "\u202e", "\u200b", "\ufeff", "\ud800", "\udfff",
    "\U0010ffff", "ß", "İ", "ﬁ", "%", "$", ";", "|", "@", "=", "&", "<", ">", "#", "?", "*", "~",
)  # fmt: skip
TEXTS: Final = (
    "", " ", "null", "true", "NaN", "..", "../../etc/passwd", "%00", "\0", "a" * 65, "a" * 257,
    "a" * 70_000, "acct-1\n", "\nacct-1", "acct-1 ", "ACCT-1", "acct\u20111", "' OR 1=1 --", "${jndi:x}",
    "{{7*7}}", "<script>", "=cmd()", "\ud800", "٣", "4111111111111111", "LPA:1$host$code",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "order/acct-1", "refused/x",
    "/billing/orders", "/upstream/" + "x" * 64, "xn--80ak6aa92e.com", "a@b", "a@[127.0.0.1]",
    '"a b"@example.org', "用户@例子.公司", "a@" + "b" * 300 + ".org", "GMT+8", "Etc/GMT-14",
    "Europe/Nowhere", "zh-Hant-TW-x-private", "*", "i-klingon", "en_US.UTF-8", "XXX", "usd", "CLF",
    "00000000-0000-0000-0000-000000000000", "{6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11}",
    "urn:uuid:6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11", "6F1D3C5E0C575F0A9D0E5A3F3F0C7B11",
)  # fmt: skip
_DEEP: Final = (20, 200, 200, 1_500, 20_000)

Raw = tuple[str]
"""A piece of JSON text that is written as it stands, valid or not."""


def text(random: Random) -> str:
    """Return some text, often with the canary inside."""
    kind = random.randrange(6)
    if kind < 2:
        made = random.choice(TEXTS)
    elif kind == 2:
        made = random.choice(TIMES)
    elif kind == 3:
        made = random.choice(NUMBERS)
    else:
        made = "".join(random.choice(_CHARACTERS) for _ in range(random.randrange(1, 24)))
    return made + CANARY if random.random() < 0.3 else made


def value(random: Random, depth: int = 0) -> Any:
    """Return any JSON value; a 1-tuple is raw JSON text."""
    kind = random.randrange(12)
    if kind < 4:
        return text(random)
    if kind < 7:
        return (random.choice(NUMBERS),)
    if kind < 9:
        return random.choice((None, True, False, [], {}))
    if kind == 9:
        deep = random.choice(_DEEP)
        opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
        return (opening * deep + "1" + closing * deep,)
    if depth > 1:
        return None
    if kind == 10:
        return [value(random, 2)] * random.choice((1, 2, 9, 40))
    return {text(random): value(random, depth + 1) for _ in range(random.choice((1, 3, 20)))}


def changed(random: Random, document: Any) -> Any:
    """Return a copy of a JSON document with up to four hostile changes."""
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 4))):
        holder, key = random.choice(list(_places(document)))
        change = random.randrange(8)
        old = holder[key]
        if change < 3:
            holder[key] = value(random)
        elif change == 3:
            del holder[key]
            if not document:
                return document
        elif change == 4 and isinstance(old, str):
            at = random.randrange(len(old) + 1)
            holder[key] = old[:at] + text(random) + old[at:]
        elif change == 5 and isinstance(holder, dict):
            holder[random.choice((key.upper(), key + " ", text(random)))] = value(random)
        elif change == 6:
            holder[key] = random.choice(([old], {str(key): old}, str(old), old))
        else:
            holder[key] = (f"{written(old)}, {json.dumps(str(key))}: {written(value(random))}",)
    return document


def _places(document: Any) -> Sequence[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = document.keys() if isinstance(document, dict) else range(len(document))
    for key in keys:
        found.append((document, key))
        if isinstance(document[key], dict | list) and document[key]:
            found += _places(document[key])
    return found


def written(document: Any) -> str:
    """Write JSON text; raw pieces as they stand."""
    if isinstance(document, tuple):
        return str(document[0])
    if isinstance(document, dict):
        inner = (f"{json.dumps(key)}:{written(each)}" for key, each in document.items())
        return "{" + ",".join(inner) + "}"
    if isinstance(document, list):
        return "[" + ",".join(written(each) for each in document) + "]"
    return json.dumps(document, ensure_ascii=False)


def encoded(random: Random, document: Any) -> bytes:
    """Write a document as bytes, seldom in another encoding or damaged."""
    made = written(document).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        return damaged(random, made)
    return made


def _flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


def _insert(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = random.choice(
        (b"\0", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r")
    )


def _repeat(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = data[at : at + random.randrange(1, 60)] * random.choice((1, 2, 50))


_DAMAGES: Final[tuple[Callable[[Random, bytearray], None], ...]] = (_flip, _cut, _insert, _repeat)


def damaged(random: Random, made: bytes) -> bytes:
    """Return the bytes with a few flips, cuts, insertions or repetitions; or wholly other ones."""
    if random.random() < 0.1:
        return random.choice((b"", b"\0", b"{}", b"[]", b"null", b'"', random.randbytes(64)))
    if random.random() < 0.1:
        return made.decode("utf-8", "replace").encode("utf-16")
    data = bytearray(made)
    for _ in range(random.randrange(1, 5)):
        if data:
            random.choice(_DAMAGES)(random, data)
    return bytes(data)

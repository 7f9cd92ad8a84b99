"""Numbers and names of the demo as people read them. Amounts are integers from end to end."""

from __future__ import annotations

import re
from typing import Final

_CAMEL: Final = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")
_SNAKE: Final = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
_BYTES_PER_MIB: Final = 1 << 20
_WHOLE_FROM: Final = 100


def amount_text(amount_minor: int, exponent: int) -> str:
    """Write minor units with grouping: 123456 at exponent 2 is `1,234.56`, -5 at 0 is `-5`."""
    sign = "-" if amount_minor < 0 else ""
    units, rest = divmod(abs(amount_minor), 10**exponent)
    decimals = f".{rest:0{exponent}d}" if exponent else ""
    return f"{sign}{units:,}{decimals}"


def side_text(amount_minor: int, exponent: int) -> str:
    """Write a balance with its side: -1250 at exponent 2 is `12.50 Cr`."""
    return f"{amount_text(abs(amount_minor), exponent)} {'Cr' if amount_minor < 0 else 'Dr'}"


def count_text(count: int) -> str:
    """Write a count with grouping: 2571 is `2,571`."""
    return f"{count:,}"


def rate_text(rate: float) -> str:
    """Write a rate: whole from 100 on, else with one decimal."""
    return f"{rate:,.0f}" if rate >= _WHOLE_FROM else f"{rate:.1f}"


def seconds_text(seconds: float) -> str:
    """Write a duration: `12.3 s`, or `2 min 5 s` from a minute on."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"  # noqa: PLR2004


def memory_text(size_bytes: int) -> str:
    """Write bytes in mebibytes: `384 MiB`."""
    return f"{size_bytes / _BYTES_PER_MIB:,.0f} MiB"


def words(name: str) -> str:
    """Write the name of an event, reason or template as words; leave anything else as it is.

    `PaymentCaptured` is `Payment captured`, `esim_not_found` is `esim not found`.
    """
    if _CAMEL.fullmatch(name):
        return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()
    return name.replace("_", " ") if _SNAKE.fullmatch(name) else name

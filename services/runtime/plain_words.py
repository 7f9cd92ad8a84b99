"""Validation errors in the words of this project, not in those of pydantic.

The words name limits of ours, and never what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_FORMS: Final = {
    r"^[A-Za-z0-9][A-Za-z0-9._:-]*$": "letters, digits and . _ : - only, a letter or digit first",
    "^89[0-9]{16,18}$": "18 to 20 digits that begin with 89",
    "^89[0-9]{0,16}$": "up to 18 digits that begin with 89",
    r"^[^\x00-\x1f\x7f\u2028\u2029]{0,64}$": "one line of up to 64 characters",
    r"^[^\x00-\x1f\x7f\u2028\u2029]{0,200}$": "one line of up to 200 characters",
    "^[A-Z]{3}$": "three capital letters, such as USD",
    "^[0-9a-f]{64}$": "64 digits of 0 to 9 and a to f",
    r"^-?[0-9]{1,12}(\.[0-9]{1,12})?$": "a decimal, such as 0.06",
    r"^[0-9]{1,2}(\.[0-9]{1,6})?$": "a decimal below 100, such as 0.06",
    "^[A-Za-z0-9_-]{1,128}$": "1 to 128 letters, digits, _ and -",
    r"^/[a-z][a-z0-9-]{0,31}/[a-z0-9][a-z0-9-]{0,62}$": (
        "/<kind of writer>/<name>, in small letters, digits and hyphens"
    ),
    r"^/(upstream|gateway|billing)/[a-z0-9][a-z0-9-]{0,62}$": (
        "/upstream/<name> or /gateway/<name>, in small letters, digits and hyphens"
    ),
}
_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "json_invalid": "is not JSON",
    "recursion_loop": "refers to itself",
}
_KINDS: Final = {
    "bool": "true or false",
    "dataclass": "an object",
    "date": "a day, such as 2026-11-20",
    "datetime": "a time with its offset, such as 2026-11-20T08:00:00Z",
    "decimal": "a decimal, such as 0.06",
    "dict": "an object",
    "finite": "a number",
    "float": "a number",
    "frozen": "a list",
    "int": "a whole number",
    "list": "a list",
    "mapping": "an object",
    "model": "an object",
    "none": "left out",
    "path": "the path of a file or folder",
    "set": "a list",
    "string": "text",
    "timezone": "a time with its offset, such as 2026-11-20T08:00:00Z",
    "tuple": "a list",
    "url": "an address, such as https://shop.example",
    "uuid": "a UUID of 36 characters",
}
_PLURALS: Final = {"character": "characters", "entry": "entries"}
_LIMITS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than": lambda limits: f"must be more than {limits['gt']}",
    "greater_than_equal": lambda limits: f"must be {limits['ge']} or more",
    "less_than": lambda limits: f"must be less than {limits['lt']}",
    "less_than_equal": lambda limits: f"must be {limits['le']} or less",
    "string_too_short": lambda limits: _at_least(limits["min_length"], "character"),
    "string_too_long": lambda limits: f"must have {limits['max_length']} characters at most",
    "too_short": lambda limits: _at_least(limits["min_length"], "entry"),
    "too_long": lambda limits: f"must have {limits['max_length']} entries at most",
    "string_pattern_mismatch": lambda limits: f"must be {_form(limits['pattern'])}",
    "enum": lambda limits: f"must be {_choices(limits['expected'])}",
    "literal_error": lambda limits: f"must be {_choices(limits['expected'])}",
}


def problems_of(error: ValidationError) -> list[ErrorDetails]:
    """Return what is wrong and where, each `msg` in plain words, without any value."""
    return [
        {**each, "msg": _plain(each)}
        for each in error.errors(include_url=False, include_input=False)
    ]


def _plain(problem: ErrorDetails) -> str:
    kind, message = problem["type"], problem["msg"]
    if kind in {"value_error", "assertion_error"}:
        return message.partition(", ")[2]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        return _LIMITS[kind](problem.get("ctx", {}))
    known = _KINDS.get(kind.partition("_")[0])
    return f"must be {known}" if known else "has a value that is not possible here"


def _at_least(count: int, what: str) -> str:
    return "must not be empty" if count == 1 else f"must have at least {count} {_PLURALS[what]}"


def _form(pattern: str) -> str:
    return _FORMS.get(pattern) or f"of the form {pattern}"


def _choices(expected: str) -> str:
    return expected.replace("'", "")

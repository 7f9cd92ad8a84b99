"""The parts of a page that are generated, between markers; the rest is written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

_SECTION: Final = re.compile(
    r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end of generated -->)", re.DOTALL
)


def with_sections(page: str, sections: Mapping[str, Callable[[], str]]) -> str:
    """Return `page` with each marked section written anew.

    Raises:
        KeyError: the page marks a section that nothing generates.
    """
    return _SECTION.sub(
        lambda match: f"{match[1]}\n{sections[match['name']]()}\n\n{match[3]}", page
    )

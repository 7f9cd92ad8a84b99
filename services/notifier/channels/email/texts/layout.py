"""The two layouts, each rendered once for all emails of one form, with gaps for what differs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Final, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

from services.notifier.channels.email.texts.content import Button, Content, Row
from services.notifier.channels.email.texts.wording import WORDING, Wording
from services.notifier.wording.figures import unbound

_GAP: Final = "\0"
"""A character that no text of an email holds."""
_NUMBERED_GAP: Final = re.compile(f"{_GAP}([0-9]+){_GAP}")
_PARAGRAPHS_KEPT: Final = 1024
_REFERENCES: Final = {ord(each): f"&#{ord(each)};" for each in "\u00a0✓✗"}
"""What our own English has beyond ASCII: as references, its bytes stay legible in the message."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`parts` are fixed text, a gap, fixed text, ...; `numbers` say which text goes into which gap."""

    parts: tuple[str, ...]
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, layout: Template, **parts: object) -> Self:
        """Render `layout` with gaps as its texts."""
        pieces = _NUMBERED_GAP.split(layout.render(parts))
        return cls(tuple(pieces), tuple(int(number) for number in pieces[1::2]))

    def filled(self, texts: Sequence[str]) -> str:
        """Return the layout with `texts`, which are in the order that the gaps were made in."""
        parts = list(self.parts)
        parts[1::2] = [texts[number] for number in self.numbers]
        return "".join(parts)


def html_of(content: Content, greeting: str, words: Wording) -> str:
    """Return the HTML of an email; nothing in `content` becomes markup."""
    strong = tuple(row.strong for row in content.rows)
    button = content.button
    layout = _html_layout(
        words.locale, len(content.opening), strong, len(content.next_steps), button=bool(button)
    )
    texts = [
        *(content.subject, content.preheader, content.heading, greeting, content.next_title),
        *content.opening,
        *content.next_steps,
        *(row.label for row in content.rows),
        *(row.value for row in content.rows),
        *((button.label, button.url) if button else ()),
    ]
    page = layout.filled(str(_ESCAPE(_GAP.join(texts))).split(_GAP))
    return page.translate(_REFERENCES) if words.locale == "en" else page


def text_of(content: Content, greeting: str, words: Wording) -> str:
    """Return the plain text of an email, wrapped as its language wants it."""
    width = words.wrap_at
    layout = _text_layout(
        words.locale,
        len(content.opening),
        len(content.rows),
        len(content.next_steps),
        button=bool(content.button),
    )
    rows = (words.row.format(label=row.label, value=row.value) for row in content.rows)
    texts = [
        *(greeting, content.next_title),
        *(wrapped(paragraph, width) for paragraph in content.opening),
        *(wrapped(row, width, "  ") for row in rows),
        *(wrapped(f"- {step}", width, "  ") for step in content.next_steps),
    ]
    if content.button:
        texts += [content.button.label, content.button.url]
    return unbound(layout.filled(texts))


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return `text` in lines of at most `width`, further ones with `indent`; as it is for 0."""
    if not width:
        return text
    if len(text) <= width and text.isprintable():
        return text.rstrip(" ")
    return _filled_lines(text, width, indent)


@lru_cache(_PARAGRAPHS_KEPT)
def _filled_lines(text: str, width: int, indent: str) -> str:
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _environment() -> Environment:
    environment = Environment(
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        keep_trailing_newline=True,
        loader=FileSystemLoader(Path(__file__).parent / "layouts"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["wrapped"] = wrapped
    return environment


_LAYOUTS: Final = _environment()
_ESCAPE: Final = _LAYOUTS.filters["escape"]
"""What the layouts' own texts would be escaped with."""


def _gaps() -> Iterator[str]:
    return (f"{_GAP}{number}{_GAP}" for number in count())


@cache
def _html_layout(
    locale: str, openings: int, strong: tuple[bool, ...], steps: int, *, button: bool
) -> Layout:
    gaps = _gaps()
    subject, preheader, heading, greeting, next_title = islice(gaps, 5)
    opening, next_steps = tuple(islice(gaps, openings)), tuple(islice(gaps, steps))
    labels, values = tuple(islice(gaps, len(strong))), tuple(islice(gaps, len(strong)))
    rows = tuple(map(Row, labels, values, strong))
    pressed = Button(*islice(gaps, 2)) if button else None
    return Layout.of(
        _LAYOUTS.get_template("email.html.j2"),
        content=Content(
            subject, preheader, heading, opening, rows, next_title, next_steps, pressed
        ),
        greeting=greeting,
        words=WORDING[locale],
    )


@cache
def _text_layout(locale: str, openings: int, rows: int, steps: int, *, button: bool) -> Layout:
    gaps = _gaps()
    greeting, next_title = islice(gaps, 2)
    return Layout.of(
        _LAYOUTS.get_template("email.txt.j2"),
        greeting=greeting,
        next_title=next_title,
        opening=tuple(islice(gaps, openings)),
        rows=tuple(islice(gaps, rows)),
        next_steps=tuple(islice(gaps, steps)),
        button=Button(*islice(gaps, 2)) if button else None,
        words=WORDING[locale],
    )

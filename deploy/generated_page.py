"""A page of docs/ that is generated, or has generated parts: compared with `--check`, else written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from schemas.generation.sections import with_sections

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, without a line end behind it."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def with_generated(name: str, page: str, sections: Mapping[str, str]) -> str:
    """Return `page` with its generated sections written anew; `name` is the page's.

    Raises:
        ValueError: the page lacks the place of one.
    """
    text = with_sections(page, {each: partial(str, section) for each, section in sections.items()})
    for each, section in sections.items():
        if section not in text:
            message = f"{name} needs a section between the marks `generated: {each}` and the end"
            raise ValueError(message)
    return text


def keep_up_to_date(
    module: str, page: Path, written: Callable[[str], str], arguments: list[str] | None
) -> int:
    """Have `page` be what `written` makes of it: the command line of `module`.

    Returns 0 when the page is up to date (or now is), 1 when `--check` found a difference.
    """
    name = f"docs/{page.name}"
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Write {name}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args(arguments).check
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    new = written(old)
    if new == old:
        return 0
    if check:
        sys.stderr.write(f"out of date: {name}: run `python -m {module}`\n")
        return 1
    page.write_text(new, encoding="utf-8")
    sys.stdout.write(f"wrote {name}\n")
    return 0

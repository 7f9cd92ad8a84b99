"""What is printed on the screen: as it is, with no word of a table broken and no column left out."""

from __future__ import annotations

from typing import Final

from rich.console import Console, RenderableType
from rich.measure import Measurement

_WIDEST: Final = 10_000


def screen_console() -> Console:
    """Return a console that takes text for text: what looks like markup may be a stranger's."""
    return Console(markup=False, emoji=False)


def print_table(content: RenderableType) -> None:
    """Print a table as wide as the terminal, or wider where its words need it.

    In a pipe or a file each row is one line, however long: programs read it.
    """
    console = screen_console()
    room = console.options.update(width=_WIDEST)
    needed = Measurement.get(console, room, content)
    least = needed.minimum if console.is_terminal else needed.maximum
    console.width = max(console.width, min(least, _WIDEST))
    console.print(content)

"""A progress bar on standard error, silent when that is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TaskID as BarId


@dataclass(frozen=True, slots=True)
class Bar:
    """One running bar; `shown` is false when standard error is no terminal."""

    progress: Progress
    bar_id: BarId
    shown: bool

    def expect(self, total: int) -> None:
        """Set how much there is to do."""
        self.progress.update(self.bar_id, total=total)

    def advance(self, count: int) -> None:
        self.progress.advance(self.bar_id, count)


@contextmanager
def progress_bar(description: str) -> Iterator[Bar]:
    """Show a bar until the block ends."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = console.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not shown, transient=True
    ) as progress:
        yield Bar(progress, progress.add_task(description, total=None), shown)

"""Shows figures to a person and writes them for programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from deploy.bench.results.figures import Figure, to_json

_WHOLE_FROM: Final = 100


def number_text(value: float | None) -> str:
    """Write a number as people compare them: 12,345 / 12.3 / 0.123; nothing for None."""
    if value is None:
        return ""
    if abs(value) >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def table(figures: Iterable[Figure]) -> Table:
    """Return the table of all figures."""
    rows = Table(title="make bench", title_justify="left")
    for heading, align in (
        ("name", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("reference", "left"),
        ("its value", "right"),
        ("ratio", "right"),
        ("to reach", "left"),
        ("note", "left"),
    ):
        rows.add_column(heading, justify="right" if align == "right" else "left", overflow="fold")
    for figure in figures:
        rows.add_row(
            figure.name,
            number_text(figure.value),
            figure.unit,
            figure.reference or "",
            number_text(figure.reference_value),
            number_text(figure.ratio),
            figure.target,
            figure.note,
        )
    return rows


def publish(figures: list[Figure], file: Path, console: Console) -> None:
    """Write `file` and print the table."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_json(figures), encoding="utf-8")
    console.print(table(figures))
    console.print(f"for programs: {file}", highlight=False)

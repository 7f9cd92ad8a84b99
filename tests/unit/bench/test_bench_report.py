"""What the bench shows to a person."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from deploy.bench.results.figures import Figure
from deploy.bench.results.report import number_text, publish


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (12345.6, "12,346"),
        (99.96, "100.0"),
        (12.34, "12.3"),
        (0.12345, "0.123"),
        (1.0, "1"),
        (-12345.6, "-12,346"),
    ],
)
def test_numbers_are_written_with_three_digits_or_grouped(value: float | None, text: str) -> None:
    assert number_text(value) == text


def test_published_figures_are_in_the_table_and_in_the_file(tmp_path: Path) -> None:
    output = StringIO()
    file = tmp_path / "build" / "bench.json"
    figures = [Figure("append", 30_000.0, "events/s", "COPY", 40_000.0, "0.6", "batches of 500")]
    publish(figures, file, Console(file=output, width=160))
    assert [figure["name"] for figure in json.loads(file.read_text())] == ["append"]
    row = next(line for line in output.getvalue().splitlines() if "append" in line)
    cells = [cell.strip() for cell in row.strip("│ \n").split("│")]
    assert cells == [
        "append", "30,000", "events/s", "COPY", "40,000", "0.75", "0.6", "batches of 500"
    ]  # fmt: skip

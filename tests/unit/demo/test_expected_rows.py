"""The rows of what is sent: readable, complete, and told in their README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from deploy.demo.expected import scenarios
from deploy.demo.publish import partition_of
from schemas.registry import SHARD_COUNT_DEFAULT

PACKAGE: Final = Path(scenarios.__file__).parent
README: Final = (PACKAGE / "scenarios" / "README.md").read_text(encoding="utf-8")
LINES_MAX: Final = 900


def in_first_column(heading: str) -> set[str]:
    """Return what stands in code in the first column of the table below a heading."""
    table = README.partition(heading)[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(.+?)`", cell)}


def test_readme_tells_every_file() -> None:
    files = {path.stem for path in (PACKAGE / "scenarios").glob("*.jsonl")}
    assert in_first_column("# What the demo sends") == files


def test_readme_tells_every_field() -> None:
    assert in_first_column("## Fields of a row") == {
        name for _, row in scenarios.rows() for name in row
    }


def test_phases_of_the_files_never_decrease() -> None:
    phases = [phase for phase, _ in scenarios.rows()]
    assert phases == sorted(phases)


def test_slips_are_used_again_by_orders_of_another_shard() -> None:
    """One shard alone cannot know that the bank's slip paid an order of another one."""
    story = scenarios.tell(scenarios.rows())
    known = story.expected.known
    shards = {record.key: partition_of(record, SHARD_COUNT_DEFAULT) for record in story.records}
    slips: dict[str, list[str]] = {}
    for _, row in scenarios.rows():
        if row["sends"] == "payment" and row.get("gateway") == "silent-bank":
            slips.setdefault(row["id"], []).append(known[row["of"]].account_id)
    assert slips
    for first, second in slips.values():
        assert shards[first.encode()] != shards[second.encode()]


def test_oracle_stays_small() -> None:
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.glob("**/*.py")
    )
    assert lines <= LINES_MAX

"""What a module of the ledger loads: Arrow takes longer to import than most commands to run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ARROW = {"adbc_driver_manager", "adbc_driver_postgresql", "pyarrow"}
BY_COLUMNS = {"services.ledger.books.columns", "services.ledger.verification.verify"}
"""What folds by columns, or compares with those that do."""
EVERY = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "services" / "ledger").rglob("*.py")
    if path.stem not in {"__init__", "__main__"}
}
PURE = {f"services.ledger.reports.{name}" for name in ("balance_report", "scope")} | {
    module for module in EVERY if module.startswith("services.ledger.rules.")
}


def loaded_by(modules: set[str]) -> set[str]:
    """Return the packages that a new process has loaded when it has imported `modules`."""
    program = f"import sys, {', '.join(sorted(modules))}\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in ran.stdout.split()}


def test_only_what_folds_by_columns_loads_arrow() -> None:
    assert loaded_by(EVERY - BY_COLUMNS) & ARROW == set()


@pytest.mark.parametrize("module", sorted(BY_COLUMNS))
def test_what_folds_by_columns_loads_arrow(module: str) -> None:
    assert loaded_by({module}) >= ARROW


def test_rules_and_reports_load_neither_arrow_nor_a_driver() -> None:
    assert loaded_by(PURE) & {*ARROW, "asyncpg", "aiokafka"} == set()

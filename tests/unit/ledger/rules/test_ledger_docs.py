"""docs/ACCOUNTING.md says what the chart, the rules and the executed examples say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from deploy import accounting_docs
from deploy.accounting_docs import main, with_tables
from schemas.money import decimal_text
from services.ledger.decider import LOT_ORDER_VERSION
from services.ledger.handlers import load_low_balance
from services.ledger.rules.accounts import CHART
from services.ledger.rules.rule_file import POSTING_RULES
from services.ledger.rules.variables import VARIABLES
from tests.unit.ledger.rules.test_ledger_postings import CASES

DOC = (Path(__file__).parents[4] / "docs" / "ACCOUNTING.md").read_text(encoding="utf-8")
WRITTEN = tomllib.loads(POSTING_RULES.read_text(encoding="utf-8"))


def example_line(row: tuple[str, int]) -> str:
    moved = " · ".join(
        f"{account} {decimal_text(minor, 'USD')}" for account, minor in CASES[row][1]
    )
    return f"| `{row[0]}` v{row[1]} | {moved} |"


def lines_under(heading: str) -> list[str]:
    """Return the rows of the first table under a heading."""
    section = DOC.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    return table[0].splitlines()[2:]


def test_tables_are_up_to_date() -> None:
    assert with_tables(DOC, WRITTEN) == DOC
    assert main(["--check"]) == 0


def test_every_account_variable_and_rule_has_its_line() -> None:
    assert [line.split("`")[1] for line in lines_under("Chart of accounts")] == [
        entry.template for entry in CHART
    ]
    assert all(f"\n| `{{{name}}}` | `{each.field}` |" in DOC for name, each in VARIABLES.items())
    rows = [line.split(" | ")[0] for line in lines_under("Posting rules")]
    assert [tuple(re.findall(r"`(.+)` v(\d+)", row)[0]) for row in rows] == [
        (table["id"], str(table["version"])) for table in WRITTEN["rule"]
    ]


@pytest.mark.parametrize("name", ["chart", "variables", "rules"])
def test_page_without_the_place_of_a_table_is_refused(name: str) -> None:
    page = DOC.replace(f"<!-- generated: {name} -->", "")
    with pytest.raises(ValueError, match=f"`generated: {name}`"):
        with_tables(page.replace("| `", "| "), WRITTEN)


def test_rule_that_changed_makes_the_page_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    text = POSTING_RULES.read_text(encoding="utf-8")
    rules.write_text(text.replace("nothing was taken", "nothing at all"), encoding="utf-8")
    page = tmp_path / "ACCOUNTING.md"
    page.write_text(DOC, encoding="utf-8")
    monkeypatch.setattr(accounting_docs, "POSTING_RULES", rules)
    monkeypatch.setattr(accounting_docs, "PAGE", page)
    assert main(["--check"]) == 1
    assert "run `python -m deploy.accounting_docs`" in capsys.readouterr().err
    assert main([]) == 0
    assert page.read_text(encoding="utf-8") == DOC.replace("nothing was taken", "nothing at all")


def test_examples_are_the_executed_ones() -> None:
    assert lines_under("Examples") == [example_line(row) for row in CASES]


def test_low_balance_thresholds_are_the_file() -> None:
    told = ", ".join(str(money) for _, money in sorted(load_low_balance().items()))
    assert told in DOC


def test_spending_order_is_the_current_version() -> None:
    assert f"version `{LOT_ORDER_VERSION}`" in DOC


@pytest.mark.parametrize(
    "command", ["balances", "replay", "gateways", "statement", "verify", "rebuild-cache"]
)
def test_every_command_is_explained(command: str) -> None:
    assert f"perennial ledger {command}" in DOC

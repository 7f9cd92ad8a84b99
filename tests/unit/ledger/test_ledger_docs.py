"""docs/ACCOUNTING.md says what the chart, the rules and the executed examples say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from schemas.money import decimal_text
from services.ledger.decider import LOT_ORDER_VERSION
from services.ledger.handlers import load_low_balance
from services.ledger.rules.accounts import CHART
from services.ledger.rules.rule_file import POSTING_RULES
from tests.unit.ledger.test_ledger_postings import CASES

DOC = (Path(__file__).parents[3] / "docs" / "ACCOUNTING.md").read_text(encoding="utf-8")
TABLES = tomllib.loads(POSTING_RULES.read_text(encoding="utf-8"))["rule"]


def chart_line(entry: Any) -> str:
    side = entry.normal if entry.one_sided else f"{entry.normal}, may turn"
    return f"| `{entry.template}` | {side} | {entry.holds} |"


def rule_line(table: dict[str, Any]) -> str:
    """Return the line of a [[rule]] table."""
    event = f"`{table['event']}`"
    if "purpose" in table:
        event += f", {' or '.join(table['purpose'])}"
    if "method" in table:
        gateways = ["card", "paypal", "alipay", "wechat"]
        methods = "a gateway" if table["method"] == gateways else " or ".join(table["method"])
        event += f", by {methods}"
    amount = ", ".join(table.get("amount", [])) or "-"
    name = f"`{table['id']}` v{table['version']}"
    if "no_posting" in table:
        return f"| {name} | {event} | {amount} | none: {table['no_posting']} | |"
    return f"| {name} | {event} | {amount} | `{table['debit']}` | `{table['credit']}` |"


def example_line(rule_id: str) -> str:
    moved = " · ".join(
        f"{account} {decimal_text(minor, 'USD')}" for account, minor in CASES[rule_id][1]
    )
    return f"| `{rule_id}` | {moved} |"


def lines_under(heading: str) -> list[str]:
    """Return the rows of the first table under a heading."""
    section = DOC.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    return table[0].splitlines()[2:]


def test_chart_of_accounts_is_the_chart() -> None:
    assert lines_under("Chart of accounts") == [chart_line(entry) for entry in CHART]


def test_posting_rules_are_the_rules() -> None:
    assert lines_under("Posting rules") == [rule_line(table) for table in TABLES]


def test_examples_are_the_executed_ones() -> None:
    assert lines_under("Examples") == [example_line(rule_id) for rule_id in CASES]


def test_low_balance_thresholds_are_the_file() -> None:
    told = ", ".join(str(money) for _, money in sorted(load_low_balance().items()))
    assert told in DOC


def test_spending_order_is_the_current_version() -> None:
    assert f"version `{LOT_ORDER_VERSION}`" in DOC


@pytest.mark.parametrize("command", ["balances", "replay", "statement", "verify", "rebuild-cache"])
def test_every_command_is_explained(command: str) -> None:
    assert f"perennial ledger {command}" in DOC

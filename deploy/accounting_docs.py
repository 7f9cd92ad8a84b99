"""`python -m deploy.accounting_docs` writes the tables of docs/ACCOUNTING.md; `--check` compares."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from schemas.generation.sections import with_sections
from services.ledger.rules.accounts import CHART, ChartEntry
from services.ledger.rules.rule_file import POSTING_RULES
from services.ledger.rules.variables import VARIABLES, Choice, Variable

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "ACCOUNTING.md"
Written = Mapping[str, Any]
"""The rules as their file has them."""


def with_tables(page: str, written: Written) -> str:
    """Return `page` with its generated tables written anew.

    Raises:
        ValueError: the page lacks the place of one.
    """
    tables: dict[str, Callable[[], str]] = {
        "chart": lambda: _table(("account", "normal side", "holds"), map(_chart_row, CHART)),
        "variables": lambda: _table(
            ("in a name", "given by", "shown as"), map(_variable_row, VARIABLES.values())
        ),
        "rules": lambda: _table(
            ("rule", "event", "amount", "debit", "credit"),
            (_rule_row(table, written["methods"]) for table in written["rule"]),
        ),
    }
    text = with_sections(page, tables)
    for name, table in tables.items():
        if table() not in text:
            message = (
                f"{PAGE.name} needs a section between the marks `generated: {name}` and the end"
            )
            raise ValueError(message)
    return text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head)]
    text = [f"| {' | '.join(row)} |" for row in lines[:1]]
    text.append("|---" * len(head) + "|")
    text += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(text)


def _chart_row(entry: ChartEntry) -> tuple[str, ...]:
    side = entry.normal if entry.one_sided else f"{entry.normal}, may turn"
    return f"`{entry.template}`", side, entry.holds


def _variable_row(variable: Variable) -> tuple[str, ...]:
    if isinstance(variable, Choice):
        shown = ", ".join(variable.labels.values())
    elif variable.part:
        shown = "as it is, `:` as `%3A`; where the fact does not say it, the level is left out"
    else:
        shown = "as it is"
    return f"`{{{variable.name}}}`", f"`{variable.field}`", shown


def _rule_row(table: Written, sets: Mapping[str, list[str]]) -> tuple[str, ...]:
    event = f"`{table['event']}`"
    if "purpose" in table:
        event += f", {' or '.join(table['purpose'])}"
    if "method" in table:
        event += f", by {_methods(table['method'], sets)}"
    amount = ", ".join(table.get("amount", [])) or "-"
    name = f"`{table['id']}` v{table['version']}"
    if table["version"] > 1:
        name += f" from {table['valid_from'].date()}"
    if "no_posting" in table:
        return name, event, amount, f"none: {table['no_posting']}", ""
    return name, event, amount, f"`{table['debit']}`", f"`{table['credit']}`"


def _methods(methods: str | list[str], sets: Mapping[str, list[str]]) -> str:
    named = sets[methods] if isinstance(methods, str) else methods
    return " or ".join(named) if named != sets["gateways"] else "a gateway"


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when the page is up to date (or now is), 1 when `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m deploy.accounting_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    text = with_tables(page, tomllib.loads(POSTING_RULES.read_text(encoding="utf-8")))
    if page == text:
        return 0
    if check:
        sys.stderr.write(
            "out of date: docs/ACCOUNTING.md: run `python -m deploy.accounting_docs`\n"
        )
        return 1
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write("wrote docs/ACCOUNTING.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

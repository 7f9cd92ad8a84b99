"""`python -m deploy.accounting_docs` writes the tables of docs/ACCOUNTING.md; `--check` compares."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from deploy.generated_page import DOCS, keep_up_to_date, table, with_generated
from services.ledger.rules.accounts import CHART, ChartEntry
from services.ledger.rules.rule_file import POSTING_RULES
from services.ledger.rules.variables import VARIABLES, Choice, Variable

PAGE: Final = DOCS / "ACCOUNTING.md"
Written = Mapping[str, Any]
"""The rules as their file has them."""


def with_tables(page: str, written: Written) -> str:
    """Return `page` with its generated tables written anew.

    Raises:
        ValueError: the page lacks the place of one.
    """
    variables = map(_variable_row, VARIABLES.values())
    rules = (_rule_row(rule, written["methods"]) for rule in written["rule"])
    return with_generated(
        PAGE.name,
        page,
        {
            "chart": table(("account", "normal side", "holds"), map(_chart_row, CHART)),
            "variables": table(("in a name", "given by", "shown as"), variables),
            "rules": table(("rule", "event", "amount", "debit", "credit"), rules),
        },
    )


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


def _rule_row(rule: Written, sets: Mapping[str, list[str]]) -> tuple[str, ...]:
    event = f"`{rule['event']}`"
    if "purpose" in rule:
        event += f", {' or '.join(rule['purpose'])}"
    if "method" in rule:
        event += f", by {_methods(rule['method'], sets)}"
    amount = ", ".join(rule.get("amount", [])) or "-"
    name = f"`{rule['id']}` v{rule['version']}"
    if rule["version"] > 1:
        name += f" from {rule['valid_from'].date()}"
    if "no_posting" in rule:
        return name, event, amount, f"none: {rule['no_posting']}", ""
    return name, event, amount, f"`{rule['debit']}`", f"`{rule['credit']}`"


def _methods(methods: str | list[str], sets: Mapping[str, list[str]]) -> str:
    named = sets[methods] if isinstance(methods, str) else methods
    return " or ".join(named) if named != sets["gateways"] else "a gateway"


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when the page is up to date (or now is), 1 when `--check` found a difference."""
    rules = tomllib.loads(POSTING_RULES.read_text(encoding="utf-8"))
    return keep_up_to_date(
        "deploy.accounting_docs", PAGE, lambda page: with_tables(page, rules), arguments
    )


if __name__ == "__main__":
    sys.exit(main())

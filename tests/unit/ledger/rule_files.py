"""Rule files that differ from the installed one, and what they are refused with."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ledger.rules.rule_file import POSTING_RULES, load_rules
from services.runtime.errors import ConfigurationError

BONUS_ROW = """
[[rule]]
id = "bonus"
version = 1
valid_from = 2020-01-01T00:00:00Z
event = "BonusGranted"
amount = ["amount"]
debit = "Liabilities:Wallet:BonusOffset"
credit = "Liabilities:Wallet:Bonus:{account}"
"""

NO_RULE = (1, "rule", "BonusGranted has neither a rule nor a no_posting row")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    """Write the installed rules with one passage replaced."""
    text = POSTING_RULES.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path = tmp_path / "rules.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def row(**fields: str) -> str:
    """Return the bonus row with some lines replaced; an empty value leaves the line out."""
    lines = {
        "id": '"bonus"',
        "version": "1",
        "valid_from": "2020-01-01T00:00:00Z",
        "event": '"BonusGranted"',
        "amount": '["amount"]',
        "debit": '"Liabilities:Wallet:BonusOffset"',
        "credit": '"Liabilities:Wallet:Bonus:{account}"',
    } | fields
    return "\n[[rule]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


def unbooked(**fields: str) -> str:
    """Return a row that books nothing, of an event that states no amount."""
    bare = {"amount": "", "debit": "", "credit": "", "no_posting": '"it moves no money"'}
    return row(**{"event": '"PlanActivated"', **bare, **fields})


def problems_of(path: Path) -> list[tuple[int, str, str]]:
    """Return line, place and reason of every problem that a file is refused with."""
    with pytest.raises(ConfigurationError) as refused:
        load_rules(path)
    problems = []
    for told in str(refused.value).splitlines():
        where, line, place, reason = told.split(":", 3)
        assert where == str(path)
        problems.append((int(line), place.strip(), reason.strip()))
    return problems


def line_of(path: Path, text: str) -> int:
    """Return the number of the only line with this text."""
    (number,) = (
        number
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if text in line
    )
    return number

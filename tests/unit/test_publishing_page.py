"""docs/PUBLISHING.md leaves out no outcome and no reason that a publisher can meet."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

from schemas import EVENTS, TERMINAL_EVENTS
from schemas.topics import ALL_TOPICS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "PUBLISHING.md").read_text(encoding="utf-8")
BETWEEN_SERVICES: Final = frozenset(
    {
        "charge_unknown",
        "give_up",
        "not_a_renewal",
        "partition_mismatch",
        "sequence_conflict",
        "sequence_gap",
        "sequence_missing",
        "subject_missing",
        "transaction_already_used",
    }
)
"""Reasons of what our own services wrote: their events, and the results of their effects."""


def poison_codes() -> set[str]:
    """Return the first argument of every `Poison(...)` in the services."""
    codes = set()
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Poison"), args=[ast.Constant(value=str(code)), *_]):
                    codes.add(code)
                case _:
                    pass
    return codes


def test_page_names_every_event_and_topic() -> None:
    assert [model.__name__ for model, _ in EVENTS if model.__name__ not in PAGE] == []
    assert [topic.name for topic in ALL_TOPICS if f"`{topic.name}`" not in PAGE] == []


def test_page_explains_every_reason_of_a_dead_letter_and_no_other() -> None:
    rows = PAGE.split("| `dlq-reason` |")[1].splitlines()
    reasons = [row.split("|")[1] for row in rows if row.startswith("| `")]
    explained = set(re.findall("`([a-z0-9_]+)`", " ".join(reasons)))
    assert explained == poison_codes() - BETWEEN_SERVICES


def test_example_program_ends_with_every_terminal_event_of_a_renewal_and_no_other() -> None:
    final = re.search(r"^FINAL = (\{.*\})$", PAGE, re.MULTILINE)
    assert final is not None
    of_renewals = {
        model.__name__ for model in TERMINAL_EVENTS if "renewal_id" in model.model_fields
    }
    assert ast.literal_eval(final[1]) == of_renewals

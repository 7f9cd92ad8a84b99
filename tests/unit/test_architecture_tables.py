"""Each table has one owner, which alone names it in SQL; and only a session stages what is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.unit.test_architecture import ROOT, shown, sources, tree_of

RUNTIME_TABLES: Final = "services/runtime/log/tables"
OWNERS: Final = {
    "accepted_request": "services/notifier/contacts",
    "amount": "services/ledger/books",
    "balance": "services/ledger/books",
    "contact": "services/notifier/contacts",
    "contact_candidate": "services/notifier/contacts",
    "cursor": f"{RUNTIME_TABLES}/cursors.py",
    "dead_letter": f"{RUNTIME_TABLES}/dead_letters.py",
    "dead_letter_overflow": f"{RUNTIME_TABLES}/dead_letters.py",
    "effect": f"{RUNTIME_TABLES}/effects.py",
    "gateway_transaction": "services/orders/payments/claims",
    "held_mail": "services/notifier/limits",
    "mailbox_key": "services/notifier/limits",
    "mailbox_limit": "services/notifier/limits",
    "operator_request": f"{RUNTIME_TABLES}/operator_requests.py",
    "parked_shard": f"{RUNTIME_TABLES}/parked_shards.py",
    "taken_event": "services/runtime/log",
}
"""Who alone names a table in SQL: a module, or the modules of a folder."""
WRITERS: Final = {
    "event": ("services/runtime/archive/events.py",),
    "shard": (
        "services/runtime/archive/events.py", "services/runtime/log", "services/runtime/recovery",
        "services/cli/recovery", "services/cli/setup",
    ),
    "source_sequence": (),
    "archived_range": ("services/runtime/archive/events.py",),
    "archived_stream": ("services/runtime/archive/events.py",),
}  # fmt: skip
"""The log itself is read where it is verified, folded and archived. Who may write, beside the turns."""
NAMES_TABLE: Final = re.compile(
    r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|TRUNCATE|USING)\s+(?:ONLY\s+)?([a-z_]+)"
)
WRITES_TABLE: Final = re.compile(
    r"\b(?:INTO|UPDATE|DELETE\s+FROM|TRUNCATE|LOCK\s+TABLE)\s+(?:ONLY\s+)?([a-z_]+)"
)


def texts(tree: ast.AST) -> Iterator[str]:
    """Return the constant texts of a module, each as it is put together, without docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text
            case ast.JoinedStr(values=parts):
                known = (part.value for part in parts if isinstance(part, ast.Constant))
                yield "".join(map(str, known))
            case _:
                pass


def tables_named(tree: ast.AST, form: re.Pattern[str] = NAMES_TABLE) -> set[str]:
    return {name for text in texts(tree) for name in form.findall(text)}


def strangers(form: re.Pattern[str], owners: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return who names a table that belongs to somebody else."""
    return [
        f"{shown(path)} names {table}"
        for path in sources("services")
        for table in sorted(tables_named(tree_of(path), form) & owners.keys())
        if not shown(path).startswith(owners[table])
    ]


def test_each_table_is_named_in_sql_by_its_owner_alone() -> None:
    migrations = "".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("services/*/migrations/*.sql")
    )
    made = set(re.findall(r"CREATE TABLE (\w+)", migrations))
    assert made == OWNERS.keys() | WRITERS.keys()
    assert strangers(NAMES_TABLE, {table: (owner,) for table, owner in OWNERS.items()}) == []
    assert strangers(WRITES_TABLE, WRITERS) == []


@pytest.mark.parametrize(
    "source",
    [
        'query = "SELECT kind FROM effect"',
        'query = ("UPDATE"\n    " effect SET x = 1")',
        'query = f"SELECT {columns} FROM effect WHERE x"',
        'query = "DELETE FROM ONLY effect"',
        'query = "SELECT 1 FROM event JOIN effect USING (shard)"',
    ],
)
def test_table_is_found_however_its_statement_is_written(source: str) -> None:
    assert "effect" in tables_named(ast.parse(source))


@pytest.mark.parametrize("source", ['"""Takes it FROM effect."""', "effect = 1", 'x = "an effect"'])
def test_what_is_no_statement_names_no_table(source: str) -> None:
    assert "effect" not in tables_named(ast.parse(source))


def test_what_a_unit_of_work_records_is_changed_by_the_session_alone() -> None:
    changing = re.compile(
        r"\brecorded\.\w+(?:\.(?:append|clear|extend|insert|pop|remove|sort)\(|\[[^\]]*\]\s*=|\s*\+?=[^=])"
    )
    found = {
        shown(path): changing.findall(path.read_text(encoding="utf-8"))
        for path in sources("services")
        if path.name != "session.py"
    }
    assert {path: each for path, each in found.items() if each} == {}
    assert changing.search("session.recorded.finished.clear()")
    assert changing.search("recorded.leased += more")

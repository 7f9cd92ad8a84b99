"""The ledger at a moment exactly: where a rule's version begins, and where a report begins or ends.

Three top-ups of 0.01, 0.20 and 3.00 USD happen one microsecond before the second version of the rule
`top-up` begins, at its beginning, and one microsecond after it. They are recorded a second apart. The
expected balances are written by hand: a top-up debits the gateway and credits the paid wallet, or
what is to be refunded from the second version on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.envelope import utc_text
from schemas.requests import PaymentMethod
from services.ledger.books.cache import cached_report, rebuild_balances
from services.ledger.books.coverage import resolve_scope
from services.ledger.books.sql_fold import fold_sql
from services.ledger.reports.balance_report import report
from services.ledger.reports.statement import Statement, statement
from services.ledger.rules.rule_file import POSTING_RULES, load_rules
from tests.books import Books, Operation, record_of
from tests.integration.ledger.ledger_database import LedgerDatabase, open_ledger_database
from tests.integration.ledger.test_ledger_books import command

INSTANT = timedelta(microseconds=1)
BEGINS = datetime(2025, 7, 1, tzinfo=UTC)
HAPPENED = (BEGINS - INSTANT, BEGINS, BEGINS + INSTANT)
RECORDED = tuple(datetime(2025, 7, 2, 8, 0, second, 123456, tzinfo=UTC) for second in range(3))
SECOND_VERSION = """
[[rule]]
id = "top-up"
version = 2
valid_from = 2025-07-01T00:00:00Z
event = "WalletToppedUp"
method = ["card", "paypal", "alipay", "wechat"]
amount = ["amount"]
debit = "Assets:Gateway:{Method}"
credit = "Liabilities:Refunds:Payable"
"""
CARD, PAID, PAYABLE = (
    "Assets:Gateway:Card",
    "Liabilities:Wallet:Paid:acct-1",
    "Liabilities:Refunds:Payable",
)
BY_FIRST = {CARD: 1, PAID: -1}
BY_FIRST_TWO = {CARD: 21, PAID: -1, PAYABLE: -20}
BY_ALL = {CARD: 321, PAID: -1, PAYABLE: -320}
LINES = [
    (CARD, 1, 1),
    (PAID, -1, 1),
    (CARD, 20, 2),
    (PAYABLE, -20, 2),
    (CARD, 300, 2),
    (PAYABLE, -300, 2),
]
"""Account, minor units, version of the rule."""
KNOWN_AT = [
    (RECORDED[0] - INSTANT, 0, {}),
    (RECORDED[0], 2, BY_FIRST),
    (RECORDED[1] - INSTANT, 2, BY_FIRST),
    (RECORDED[1], 4, BY_FIRST_TWO),
    (RECORDED[1] + INSTANT, 4, BY_FIRST_TWO),
    (RECORDED[2] - INSTANT, 4, BY_FIRST_TWO),
    (RECORDED[2], 6, BY_ALL),
]
"""Moment, lines of a statement, balances."""
EFFECTIVE_AT = [
    (HAPPENED[0] - INSTANT, {}),
    (HAPPENED[0], BY_FIRST),
    (HAPPENED[1], BY_FIRST_TWO),
    (HAPPENED[2], BY_ALL),
]
SINCE = [
    (RECORDED[0], {}, 0),
    (RECORDED[0] + INSTANT, BY_FIRST, 2),
    (RECORDED[1] - INSTANT, BY_FIRST, 2),
    (RECORDED[1], BY_FIRST, 2),
    (RECORDED[1] + INSTANT, BY_FIRST_TWO, 4),
    (RECORDED[2], BY_FIRST_TWO, 4),
    (RECORDED[2] + INSTANT, BY_ALL, 6),
]
"""Moment, opening balances, how many of LINES are before it."""


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    """Return the installed rules with another second version of the row for top-ups."""
    first, *rows = POSTING_RULES.read_text(encoding="utf-8").split("[[rule]]\n")
    others = [row for row in rows if not row.startswith('id = "top-up"\nversion = 2\n')]
    assert len(others) == len(rows) - 1
    path = tmp_path / "rules.toml"
    path.write_text("[[rule]]\n".join([first, *others]) + SECOND_VERSION, encoding="utf-8")
    return path


@pytest.fixture
async def ledger(fresh_database: str, rules_file: Path) -> AsyncIterator[LedgerDatabase]:
    top_ups = [
        Operation("top_up", 1, amount, 0, "USD", None, PaymentMethod.CARD)
        for amount in (1, 20, 300)
    ]
    captured_and_credited = Books().play(top_ups).published
    async with open_ledger_database(fresh_database, load_rules(rules_file)) as database:
        for number, (happened, recorded) in enumerate(zip(HAPPENED, RECORDED, strict=True)):
            database.now = recorded
            both = captured_and_credited[2 * number : 2 * number + 2]
            await database.feed(
                [record_of(each._replace(occurred_at=happened)) for each in both], batch=2
            )
        yield database


def by_account(totals: dict[tuple[str, str], int]) -> dict[str, int]:
    """Return the balances that are not zero; every one is of US dollars."""
    assert {currency for _, currency in totals} <= {"USD"}
    return {account: minor for (account, _), minor in totals.items() if minor}


def lines_of(found: Statement) -> list[tuple[str, int, int]]:
    """Return account, minor units and version of the rule of each line."""
    return [(line.account, line.amount_minor, line.rule_version) for line in found.lines]


async def stated(
    ledger: LedgerDatabase, *, known_at: datetime | None = None, since: datetime | None = None
) -> Statement:
    """Return the statement of the customer."""
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection, known_at=known_at)
        return await statement(connection, "acct-1", scope, ledger.rules, since=since)


async def test_every_fold_books_each_side_of_a_versions_beginning_by_its_version(
    ledger: LedgerDatabase,
) -> None:
    assert by_account((await ledger.replay()).totals) == BY_ALL
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection)
        by_sql = await fold_sql(connection, scope, ledger.rules)
        assert by_account(report(by_sql, scope, ledger.rules).totals) == BY_ALL
        assert by_account((await cached_report(connection, ledger.rules)).totals) == BY_ALL
        await rebuild_balances(connection, ledger.rules)
        assert by_account((await cached_report(connection, ledger.rules)).totals) == BY_ALL
    assert await ledger.failed() == {}


async def test_statement_names_the_version_on_each_side_of_its_beginning(
    ledger: LedgerDatabase,
) -> None:
    found = await stated(ledger)
    assert lines_of(found) == LINES
    assert {line.rule_id for line in found.lines} == {"top-up"}
    assert by_account(found.closing) == BY_ALL


async def test_what_is_recorded_at_a_moment_is_known_at_it(ledger: LedgerDatabase) -> None:
    for moment, lines, balances in KNOWN_AT:
        assert by_account((await ledger.replay(known_at=moment)).totals) == balances
        found = await stated(ledger, known_at=moment)
        assert (len(found.lines), by_account(found.closing)) == (lines, balances)


async def test_what_happens_at_a_moment_is_effective_at_it(ledger: LedgerDatabase) -> None:
    for moment, balances in EFFECTIVE_AT:
        assert by_account((await ledger.replay(effective_at=moment)).totals) == balances
        async with ledger.connect() as connection:
            scope = await resolve_scope(connection, effective_at=moment)
            by_sql = await fold_sql(connection, scope, ledger.rules)
            found = await statement(connection, "acct-1", scope, ledger.rules)
        assert by_account(report(by_sql, scope, ledger.rules).totals) == balances
        assert by_account(found.closing) == balances


async def test_statement_since_a_moment_lists_what_is_recorded_at_it(
    ledger: LedgerDatabase,
) -> None:
    for moment, opening, before in SINCE:
        found = await stated(ledger, since=moment)
        assert by_account(found.opening) == opening
        assert lines_of(found) == LINES[before:]
        assert by_account(found.closing) == BY_ALL


async def test_commands_take_the_moment_of_a_record_to_the_microsecond(
    ledger: LedgerDatabase, rules_file: Path
) -> None:
    at, rules = utc_text(RECORDED[1]), ("--rules", str(rules_file), "--json")
    replayed = command(ledger, "replay", "--known-at", at, *rules)
    balances = json.loads(replayed.stdout)["report"]["balances"]
    assert {each["account"]: each["amount_minor"] for each in balances} == BY_FIRST_TWO
    told = command(ledger, "statement", "acct-1", "--since", at, "--known-at", at, *rules)
    found = json.loads(told.stdout)
    assert [line["amount_minor"] for line in found["lines"]] == [20, -20]
    assert [line["recorded_at"] for line in found["lines"]] == [at, at]

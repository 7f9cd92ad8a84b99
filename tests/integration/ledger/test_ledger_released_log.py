"""A log that was written in November 2026 gives the digests that were printed then, byte for byte.

The file of records is frozen, and so are the digests: a change of the code that changes one of them
changes books that somebody has closed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from services.ledger.books.cache import cached_report
from services.ledger.books.coverage import resolve_scope
from services.ledger.books.sql_fold import fold_sql
from services.ledger.reports.balance_report import report
from services.ledger.rules.rule_file import RELEASED, load_rules
from tests.books import Record
from tests.controls import T0
from tests.integration.ledger.ledger_database import LedgerDatabase, open_ledger_database
from tests.integration.ledger.test_ledger_books import command

LOG = Path(__file__).with_name("ledger_log") / "2026-11.jsonl"
DIGEST = "e76efbc0b7592372aadc3d10495c6aa11c23d1830c3d3b299d875a22162b2ea1"
DIGEST_OF_THREE_DAYS = "df72a5e0a269846153bd9b8cf975ad074259c3c98b2b01d429e61218caa38039"


@pytest.fixture
async def ledger(fresh_database: str) -> AsyncIterator[LedgerDatabase]:
    rules = load_rules(RELEASED / "2026-11.toml", whole=False)
    async with open_ledger_database(fresh_database, rules) as database:
        await database.feed(records())
        yield database


def records() -> list[Record]:
    """Return the log as its topic holds it."""
    read: dict[int, int] = {}
    found = []
    for line in LOG.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        partition = record["partition"]
        read[partition] = read.get(partition, 0) + 1
        headers = [(name, value.encode()) for name, value in record["headers"].items()]
        key, value = record["key"].encode(), record["value"].encode()
        found.append(
            Record("billing.orders.v1", partition, read[partition] - 1, key, value, headers)
        )
    return found


async def test_released_log_has_its_digest_by_columns_by_sql_and_in_the_cache(
    ledger: LedgerDatabase,
) -> None:
    async with ledger.connect() as connection:
        scope = await resolve_scope(connection)
        by_sql = report(await fold_sql(connection, scope, ledger.rules), scope, ledger.rules)
        cached = await cached_report(connection, ledger.rules)
    by_columns = await ledger.replay()
    assert {by_columns.sha256, by_sql.sha256, cached.sha256} == {DIGEST}
    assert await ledger.failed() == {}


async def test_part_of_the_released_log_has_its_digest(ledger: LedgerDatabase) -> None:
    found = await ledger.replay(effective_at=T0 + timedelta(days=3))
    assert found.sha256 == DIGEST_OF_THREE_DAYS


async def test_command_gives_the_digest_by_the_name_of_the_rules_and_the_same_balances_without(
    ledger: LedgerDatabase,
) -> None:
    found = [
        json.loads(ran.stdout)
        for ran in (
            command(ledger, "replay", "--json", "--rules", "2026-11"),
            command(ledger, "replay", "--json"),
        )
    ]
    assert found[0]["sha256"] == DIGEST
    assert found[0]["report"]["balances"] == found[1]["report"]["balances"]

"""No transaction of a verification or a replay looks at more rows than a slice holds.

A policy on the tables counts the rows that each transaction of the ledger's role looks at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.cli.books.verification import log_of
from services.ledger.books import amount_slices
from services.ledger.verification import log_checks
from services.runtime.verify import slices
from services.runtime.verify.logs import verify_logs
from tests.integration.ledger.ledger_database import LedgerDatabase, open_ledger_database
from tests.integration.ledger.test_ledger_books import played

SLICE = 20
ROWS_MAX = 150
"""A page of amounts holds some 70 rows, an account some 50."""
COUNTED = f"""
CREATE FUNCTION counted() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    seen int := coalesce(nullif(current_setting('test.seen', true), ''), '0')::int + 1;
BEGIN
    PERFORM set_config('test.seen', seen::text, true);
    IF seen > {ROWS_MAX} THEN
        RAISE EXCEPTION 'one transaction looks at % rows: %', seen, current_query();
    END IF;
    RETURN true;
END
$$;
ALTER TABLE event ENABLE ROW LEVEL SECURITY;
ALTER TABLE amount ENABLE ROW LEVEL SECURITY;
CREATE POLICY counted ON event USING (counted());
CREATE POLICY counted ON amount USING (counted());
ALTER ROLE perennial_ledger SET enable_seqscan = off;
"""


@pytest.fixture
async def ledger(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerDatabase]:
    monkeypatch.setattr(slices, "SLICE", SLICE)
    monkeypatch.setattr(amount_slices, "PAGES", 1)
    monkeypatch.setattr(log_checks, "EVENTS_AT_ONCE", SLICE)
    async with open_ledger_database(fresh_database) as database:
        await database.feed(played(300).records())
        owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "ledger"})
        try:
            assert await owner.fetchval("SELECT count(*) FROM event") > 4 * ROWS_MAX
            assert await owner.fetchval("SELECT count(*) FROM amount") > 4 * ROWS_MAX
            await owner.execute(COUNTED)
            yield database
        finally:
            await owner.execute("ALTER ROLE perennial_ledger RESET enable_seqscan")
            await owner.close()


async def test_verification_of_the_books_reads_slices(ledger: LedgerDatabase) -> None:
    assert await ledger.failed() == {}


async def test_every_slice_counts_in_what_was_compared(ledger: LedgerDatabase) -> None:
    owner = await asyncpg.connect(ledger.admin_dsn, server_settings={"search_path": "ledger"})
    streams = await owner.fetchval("SELECT count(DISTINCT stream_id) FROM event")
    await owner.close()
    async with ledger.connect() as connection:
        check = await log_checks.check_streams(connection)
    assert check.compared == f"{streams} streams"


async def test_replay_reads_slices(ledger: LedgerDatabase) -> None:
    assert (await ledger.replay()).totals


async def test_verification_of_a_log_reads_slices(ledger: LedgerDatabase) -> None:
    async with ledger.connect() as connection:
        checks = await verify_logs([log_of("ledger", connection)])
    assert all(check.ok for check in checks["ledger"])


async def test_guard_of_this_test_sees_a_long_look(ledger: LedgerDatabase) -> None:
    async with ledger.connect() as connection:
        with pytest.raises(asyncpg.RaiseError, match="one transaction looks at"):
            await connection.fetchval("SELECT count(*) FROM event")

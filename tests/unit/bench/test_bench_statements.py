"""SQL statements are counted once each, for the service that sent them."""

from __future__ import annotations

from deploy.bench.system.statements import counted

LOG = b"""\
100.000 perennial-orders LOG:  statement: BEGIN;
100.001 perennial-orders LOG:  execute __asyncpg_stmt_1__: SELECT
\tepoch FROM cursor
100.002 perennial-orders LOG:  execute fetch from __asyncpg_stmt_2__/__asyncpg_portal_1__: SELECT 1
100.003 perennial-orders LOG:  execute <unnamed>: SELECT 'LOG:  statement: x'
100.004 perennial-orders LOG:  statement: COMMIT;
100.500 perennial-ledger LOG:  statement: COPY event FROM STDIN
100.600 perennial-ledger ERROR:  deadlock detected
100.700 perennial LOG:  statement: SELECT pg_reload_conf()
100.800  LOG:  checkpoint starting: immediate force wait
2026-11-20 LOG:  received SIGHUP, reloading configuration files
103.000 perennial-notifier LOG:  statement: BEGIN;
"""


def test_each_statement_counts_once_for_its_service() -> None:
    assert counted(LOG.splitlines(keepends=True), 0, 200) == {
        "orders": 5,
        "ledger": 1,
        "notifier": 1,
    }


def test_only_what_lies_between_the_times_counts() -> None:
    assert counted(LOG.splitlines(keepends=True), 100.003, 103.0) == {"orders": 2, "ledger": 1}

"""The cached balances: reads them, or throws them away and derives them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.ledger.books.coverage import resolve_scope
from services.ledger.books.sql_fold import fold_sql
from services.ledger.reports.balance_report import Report, report
from services.ledger.rules.accounts import WALLET_BONUS, WALLET_PAID
from services.ledger.rules.postings import Balances
from services.ledger.rules.rule_set import RuleSet

if TYPE_CHECKING:
    import asyncpg


async def rebuild_balances(connection: asyncpg.Connection, rules: RuleSet) -> int:
    """Replace the whole cache in one transaction; return how many balances there are.

    Every shard's row is locked meanwhile, in the order that the intake takes them: nothing is
    appended, so nothing is missed.
    """
    async with connection.transaction():
        await connection.execute("SELECT FROM shard ORDER BY shard FOR UPDATE")
        balances = await fold_sql(connection, await resolve_scope(connection), rules)
        await connection.execute("DELETE FROM balance")
        await connection.copy_records_to_table(
            "balance",
            columns=("shard", "account", "currency", "amount_minor"),
            records=[(*key, balances[key]) for key in sorted(balances)],
        )
    return len(balances)


async def cached_balances(connection: asyncpg.Connection) -> Balances:
    """Return the cache as it stands."""
    rows = await connection.fetch("SELECT shard, account, currency, amount_minor FROM balance")
    return {(r["shard"], r["account"], r["currency"]): int(r["amount_minor"]) for r in rows}


async def cached_report(
    connection: asyncpg.Connection, rules: RuleSet, account_id: str | None = None
) -> Report:
    """Return the cache as a report: of everything, or of the wallets of one customer."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        scope = await resolve_scope(connection, account_id=account_id)
        balances = await cached_balances(connection)
    if account_id is not None:
        wallets = {WALLET_PAID + account_id, WALLET_BONUS + account_id}
        balances = {key: minor for key, minor in balances.items() if key[1] in wallets}
    return report(balances, scope, rules)

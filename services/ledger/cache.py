"""Throws the cached balances away and derives them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.ledger.postings import Balances
from services.ledger.replay import resolve_scope
from services.ledger.rules import RuleSet
from services.ledger.sql_fold import fold_sql

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
    return {(r["shard"], r["account"], r["currency"]): r["amount_minor"] for r in rows}

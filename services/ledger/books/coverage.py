"""The rows of `amount` that a scope covers: its positions as they are now or were, and the SQL of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from schemas.envelope import utc_text
from services.ledger.reports.scope import Scope

if TYPE_CHECKING:
    import asyncpg

_ACCOUNT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_HEADS: Final = "SELECT shard, head_position FROM shard ORDER BY shard"
_POSITIONS_AT: Final = (
    "SELECT shard.shard, coalesce((SELECT event.position FROM event WHERE event.shard = shard.shard"
    " AND event.recorded_at <= $1 ORDER BY event.position DESC LIMIT 1), 0) AS position"
    " FROM shard ORDER BY shard.shard"
)


async def resolve_scope(
    connection: asyncpg.Connection,
    *,
    known_at: datetime | None = None,
    effective_at: datetime | None = None,
    positions: Mapping[int, int] | None = None,
    account_id: str | None = None,
) -> Scope:
    """Fix the positions a replay covers, so that it reads the same rows however the log grows.

    A past `known_at` gives the positions of that moment: the same today and in a year.
    """
    heads = {r["shard"]: r["head_position"] for r in await connection.fetch(_HEADS)}
    if known_at is not None:
        rows = await connection.fetch(_POSITIONS_AT, known_at)
        heads = {r["shard"]: r["position"] for r in rows}
    if positions is not None:
        heads = {shard: min(head, positions.get(shard, 0)) for shard, head in heads.items()}
    return Scope(heads, known_at, effective_at, account_id)


async def covered_rows(connection: asyncpg.Connection, scope: Scope) -> int:
    """Return how many amounts a replay of `scope` reads, for a progress bar."""
    query = f"SELECT count(*) FROM {source_of(scope)} WHERE {condition_of(scope)}"  # noqa: S608 - every value is a checked literal
    return int(await connection.fetchval(query))


def source_of(scope: Scope) -> str:
    """Return the SQL tables that `condition_of` filters: `amount` joined with `bound`."""
    bounds = ", ".join(
        f"({int(shard)}, {int(position)}::bigint)"
        for shard, position in sorted(scope.positions.items())
    )
    return f"amount JOIN (VALUES {bounds}) AS bound(shard, position) ON bound.shard = amount.shard"


def condition_of(scope: Scope) -> str:
    """Return the SQL condition on `source_of`; every value is a checked literal.

    Raises:
        ValueError: the account id cannot be one.
    """
    parts = ["amount.position <= bound.position"]
    if scope.known_at:
        parts.append(f"amount.recorded_at <= '{utc_text(scope.known_at)}'")
    if scope.effective_at:
        parts.append(f"amount.occurred_at <= '{utc_text(scope.effective_at)}'")
    if scope.account_id is not None:
        if not _ACCOUNT_ID.fullmatch(scope.account_id):
            message = "an account id has letters, digits and ._:- only, at most 64"
            raise ValueError(message)
        parts.append(f"amount.account_id = '{scope.account_id}'")
    return " AND ".join(parts)

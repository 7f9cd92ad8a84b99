"""What a replay covers: the rows up to fixed positions, what was known and what had happened by then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from schemas.envelope import utc_text

if TYPE_CHECKING:
    import asyncpg

_ACCOUNT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a replay covers: positions 1..n of each shard, what was known, what had happened.

    `known_at` keeps what the ledger had recorded by then; `effective_at` what had happened by then,
    whenever it was recorded. `account_id` keeps the part of one customer.
    """

    positions: Mapping[int, int]
    known_at: datetime | None = None
    effective_at: datetime | None = None
    account_id: str | None = None

    def condition(self) -> str:
        """Return the SQL condition on `amount` joined with `bound`; every value is a checked literal.

        Raises:
            ValueError: the account id cannot be one.
        """
        parts = ["amount.position <= bound.position"]
        if self.known_at:
            parts.append(f"amount.recorded_at <= '{utc_text(self.known_at)}'")
        if self.effective_at:
            parts.append(f"amount.occurred_at <= '{utc_text(self.effective_at)}'")
        if self.account_id is not None:
            if not _ACCOUNT_ID.fullmatch(self.account_id):
                message = "an account id has letters, digits and ._:- only, at most 64"
                raise ValueError(message)
            parts.append(f"amount.account_id = '{self.account_id}'")
        return " AND ".join(parts)

    def covered(self) -> str:
        """Return the SQL tables that `condition` filters."""
        bounds = ", ".join(
            f"({int(shard)}, {int(position)}::bigint)"
            for shard, position in sorted(self.positions.items())
        )
        return (
            f"amount JOIN (VALUES {bounds}) AS bound(shard, position) ON bound.shard = amount.shard"
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
    query = f"SELECT count(*) FROM {scope.covered()} WHERE {scope.condition()}"  # noqa: S608 - as in _batches
    return int(await connection.fetchval(query))


_HEADS: Final = "SELECT shard, head_position FROM shard ORDER BY shard"
_POSITIONS_AT: Final = (
    "SELECT shard.shard, coalesce((SELECT event.position FROM event WHERE event.shard = shard.shard"
    " AND event.recorded_at <= $1 ORDER BY event.position DESC LIMIT 1), 0) AS position"
    " FROM shard ORDER BY shard.shard"
)

"""Balances derived from the log: what a replay covers, and the fast columnar fold.

Sums of integers do not depend on the order of rows, so `step` and `merge` give the same result in
one process, in a pool or on a cluster. `sql_fold` and `body_fold` get there independently.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Final

import adbc_driver_manager
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]

from schemas.envelope import utc_text
from services.ledger.amount_slices import EXTENT, confirm_same_file, slices
from services.ledger.postings import Balances
from services.ledger.rules import RuleSet, missing_rule
from services.runtime.errors import Transient
from services.runtime.postgres import verified

if TYPE_CHECKING:
    import asyncpg

Progress = Callable[[int], None]
"""Called with how many more rows have been read."""

_GROUP: Final = ["shard", "kind", "era", "jurisdiction", "account_id", "currency"]
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_EXACT: Final = pa.decimal128(38)
"""Wide enough for any sum: 64-bit sums would wrap around unseen."""
_PARTIALS_MAX: Final = 32
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


class ColumnFold:
    """The posting rules, arranged for whole columns."""

    def __init__(self, rules: RuleSet) -> None:
        """Fold by `rules`."""
        self._rules = rules
        self._boundaries = rules.boundaries()
        personal = {
            kind
            for kind, rule in rules.rows()
            if "account" in {ref.variable for ref in (rule.debit, rule.credit) if ref}
        }
        self._personal = pa.array(sorted(personal), pa.string())

    def step(self, batch: pa.RecordBatch) -> pa.Table:
        """Sum one batch of `amount` rows by everything that decides where they are booked.

        The `era` counts the rule boundaries passed when the event happened. Accounts are kept
        apart only where a rule names the customer, so the result stays small.
        """
        passed = (
            pc.greater_equal(batch["occurred_at"], pa.scalar(moment, _MOMENT)).cast(pa.int32())
            for moment in self._boundaries
        )
        account_id = pc.if_else(
            pc.is_in(batch["kind"], value_set=self._personal), batch["account_id"], None
        )
        table = pa.table(
            {
                "shard": batch["shard"],
                "kind": batch["kind"],
                "era": reduce(pc.add, passed),
                "jurisdiction": batch["jurisdiction"],
                "account_id": account_id,
                "currency": batch["currency"],
                "amount_minor": batch["amount_minor"].cast(_EXACT),
            }
        )
        return _grouped(table)

    def merge(self, partials: Iterable[pa.Table]) -> pa.Table:
        """Add up partial sums; associative and commutative."""
        return _grouped(pa.concat_tables(partials))

    def balances(self, partial: pa.Table) -> Balances:
        """Book the sums by the rules.

        Raises:
            Park: no rule covers an amount.
        """
        balances: Balances = defaultdict(int)
        for row in partial.to_pylist():
            if row["era"] == 0:
                raise missing_rule(row["kind"], self._boundaries[0])
            rule = self._rules.for_kind(row["kind"], self._boundaries[row["era"] - 1])
            for ref, sign in ((rule.debit, 1), (rule.credit, -1)):
                if ref is not None:
                    account = ref.name(
                        account_id=row["account_id"] or "", jurisdiction=row["jurisdiction"]
                    )
                    key = (row["shard"], account, row["currency"])
                    balances[key] += sign * int(row["amount_minor"])
        return dict(balances)


def _grouped(table: pa.Table) -> pa.Table:
    sums = table.group_by(_GROUP, use_threads=False).aggregate([("amount_minor", "sum")])
    return sums.rename_columns([*_GROUP, "amount_minor"])


def fold_columns(
    dsn: str, schema: str, scope: Scope, rules: RuleSet, on_progress: Progress | None = None
) -> Balances:
    """Return the balances by streaming the covered rows of `amount` as Arrow batches.

    Raises:
        Transient: Postgres cannot be reached.
        Park: no rule covers an amount.
    """
    fold = ColumnFold(rules)
    partials: list[pa.Table] = []
    for batch in _batches(dsn, schema, scope):
        partials.append(fold.step(batch))
        if len(partials) == _PARTIALS_MAX:
            partials = [fold.merge(partials)]
        if on_progress is not None:
            on_progress(batch.num_rows)
    return fold.balances(fold.merge(partials)) if partials else {}


def _batches(dsn: str, schema: str, scope: Scope) -> Iterator[pa.RecordBatch]:
    query = (
        "SELECT amount.shard, kind, account_id, jurisdiction, currency, amount_minor, occurred_at"  # noqa: S608 - COPY takes no parameters; Scope checks every literal
        f" FROM {scope.covered()} WHERE {scope.condition()}"
    )
    try:
        # A transaction for each statement.
        with (
            dbapi.connect(verified(dsn), autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            quoted = '"' + schema.replace('"', '""') + '"'
            cursor.execute(f"SET search_path = {quoted}")
            pages, file = _extent(cursor)
            for part in slices(pages):
                cursor.execute(f"{query} AND {part}")
                yield from cursor.fetch_record_batch()
            confirm_same_file(file, _extent(cursor)[1])
    except adbc_driver_manager.Error as error:
        message = f"reading the ledger's amounts failed ({type(error).__name__}): is Postgres up?"
        raise Transient(message) from None


def _extent(cursor: dbapi.Cursor) -> tuple[int, int]:
    cursor.execute(EXTENT)
    pages, file = cursor.fetchone()
    return pages, file

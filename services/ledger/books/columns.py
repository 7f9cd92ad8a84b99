"""The fast fold, over whole columns. Arrow takes a while to import, so only what folds imports this.

Sums of integers do not depend on the order of rows, so `step` and `merge` give the same result in
one process, in a pool or on a cluster. `sql_fold` and `body_fold` get there independently.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import reduce
from typing import Final

import adbc_driver_manager
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]

from services.ledger.books.amount_slices import EXTENT, confirm_same_file, slices
from services.ledger.books.coverage import condition_of, source_of
from services.ledger.reports.scope import Scope
from services.ledger.rules.postings import Balances, Transfers
from services.ledger.rules.rule_set import RuleSet, missing_rule
from services.ledger.rules.variables import WORDS
from services.runtime.errors import Transient
from services.runtime.postgres.dsn import verified

Progress = Callable[[int], None]
"""Called with how many more rows have been read."""

_GROUP: Final = ["shard", "kind", "era", *(word.column for word in WORDS)]
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_ALWAYS: Final = ("gateway", "jurisdiction", "currency")
"""Columns of few values, by which all amounts are kept apart."""
_EXACT: Final = pa.decimal128(38)
"""Wide enough for any sum: 64-bit sums would wrap around unseen."""
_PARTIALS_MAX: Final = 32


class ColumnFold:
    """The posting rules, arranged for whole columns."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._boundaries = rules.boundaries()
        named = {
            word.column: {kind for kind, rule in rules.rows() if rule.names(word.column)}
            for word in WORDS
        }
        self._named = {
            column: pa.array(sorted(kinds), pa.string())
            for column, kinds in named.items()
            if column not in _ALWAYS
        }

    def step(self, batch: pa.RecordBatch) -> pa.Table:
        """Sum one batch of `amount` rows by everything that decides where they are booked.

        The `era` counts the rule boundaries passed when the event happened. Words, such as the
        customer, are kept apart only where a rule names them, so the result stays small.
        """
        words = {
            column: pc.if_else(pc.is_in(batch["kind"], value_set=kinds), batch[column], None)
            for column, kinds in self._named.items()
        }
        kept = {name: batch[name] for name in ("shard", "kind", *_ALWAYS)}
        era, amount_minor = self._era(batch["occurred_at"]), batch["amount_minor"].cast(_EXACT)
        return _grouped(pa.table({**kept, **words, "era": era, "amount_minor": amount_minor}))

    def _era(self, occurred_at: pa.Array) -> pa.Array:
        """Return the era of each moment; most batches lie in one, which needs no comparison."""
        ends = pc.min_max(occurred_at).as_py()
        first, last = (
            bisect_right(self._boundaries, ends[end] or datetime.max.replace(tzinfo=UTC))
            for end in ("min", "max")
        )
        passed = (
            pc.greater_equal(occurred_at, pa.scalar(moment, _MOMENT)).cast(pa.int32())
            for moment in self._boundaries[first:last]
        )
        return reduce(pc.add, passed, pa.repeat(pa.scalar(first, pa.int32()), len(occurred_at)))

    def merge(self, partials: Iterable[pa.Table]) -> pa.Table:
        """Add up partial sums; associative and commutative."""
        return _grouped(pa.concat_tables(partials))

    def balances(self, partial: pa.Table) -> Balances:
        """Book the sums by the rules.

        Raises:
            Park: no rule covers an amount.
        """
        balances: Balances = defaultdict(int)
        for (shard, debit, credit, currency), minor in self.transfers(partial).items():
            balances[shard, debit, currency] += minor
            balances[shard, credit, currency] -= minor
        return dict(balances)

    def transfers(self, partial: pa.Table) -> Transfers:
        """Return what the rules move between any two accounts.

        Raises:
            Park: no rule covers an amount.
        """
        transfers: Transfers = defaultdict(int)
        for row in partial.to_pylist():
            if row["era"] == 0:
                raise missing_rule(row["kind"], self._boundaries[0])
            rule = self._rules.for_kind(row["kind"], self._boundaries[row["era"] - 1])
            if rule.debit is not None and rule.credit is not None:
                accounts = (rule.debit.name(row), rule.credit.name(row))
                transfers[row["shard"], *accounts, row["currency"]] += int(row["amount_minor"])
        return dict(transfers)


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
    return fold.balances(_folded(fold, _batches(dsn, schema, scope), on_progress))


def fold_transfers(
    dsn: str, schema: str, scope: Scope, rules: RuleSet, on_progress: Progress | None = None
) -> Transfers:
    """Return what moved between any two accounts, as `fold_columns` does the balances.

    Raises:
        Transient: Postgres cannot be reached.
        Park: no rule covers an amount.
    """
    fold = ColumnFold(rules)
    return fold.transfers(_folded(fold, _batches(dsn, schema, scope), on_progress))


def _folded(
    fold: ColumnFold, batches: Iterable[pa.RecordBatch], on_progress: Progress | None
) -> pa.Table:
    partials: list[pa.Table] = []
    for batch in batches:
        partials.append(fold.step(batch))
        if len(partials) == _PARTIALS_MAX:
            partials = [fold.merge(partials)]
        if on_progress is not None:
            on_progress(batch.num_rows)
    return fold.merge(partials) if partials else pa.table({})


def _batches(dsn: str, schema: str, scope: Scope) -> Iterator[pa.RecordBatch]:
    query = (
        f"SELECT amount.shard, kind, {', '.join(word.column for word in WORDS)}, amount_minor,"  # noqa: S608 - COPY takes no parameters; Scope checks every literal
        " occurred_at"
        f" FROM {source_of(scope)} WHERE {condition_of(scope)}"
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

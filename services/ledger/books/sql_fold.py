"""The same balances by plain SQL inside Postgres: the second opinion on the columnar fold."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from services.ledger.books.amount_slices import EXTENT, confirm_same_file, slices
from services.ledger.books.coverage import condition_of, source_of
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import AccountRef
from services.ledger.rules.postings import Balances
from services.ledger.rules.rule_set import RuleSet, missing_rule

if TYPE_CHECKING:
    import asyncpg

_FOLD: Final = """
WITH rule AS (
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[],
                         $6::text[], $7::text[]) WITH ORDINALITY AS
        rule(kind, valid_from, valid_until, debit, debit_of, credit, credit_of, number)
), summed AS (
    SELECT amount.shard, amount.kind, rule.number, jurisdiction, currency,
        CASE WHEN 'account' IN (debit_of, credit_of) THEN account_id END AS account_id,
        sum(amount_minor) AS total
    FROM {covered}
    LEFT JOIN rule ON rule.kind = amount.kind AND occurred_at >= valid_from
        AND (valid_until IS NULL OR occurred_at < valid_until)
    WHERE {condition}
    GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT shard, currency, sum(sign * total) AS total,
    side.prefix || CASE side.variable WHEN 'account' THEN account_id
        WHEN 'jurisdiction' THEN coalesce(jurisdiction, '') ELSE '' END AS account,
    min(summed.kind) FILTER (WHERE summed.number IS NULL) AS unruled
FROM summed LEFT JOIN rule ON rule.number = summed.number
CROSS JOIN LATERAL (VALUES (1, debit, debit_of), (-1, credit, credit_of))
    AS side(sign, prefix, variable)
WHERE summed.number IS NULL OR side.prefix IS NOT NULL
GROUP BY shard, currency, account
"""


async def fold_sql(connection: asyncpg.Connection, scope: Scope, rules: RuleSet) -> Balances:
    """Return the balances as Postgres computes them.

    Raises:
        Park: no rule covers an amount.
        Transient: the table was written anew meanwhile.
    """
    balances: Balances = defaultdict(int)
    [(pages, file)] = await connection.fetch(EXTENT)
    for part in slices(pages):
        condition = f"{condition_of(scope)} AND {part}"
        query = _FOLD.format(covered=source_of(scope), condition=condition)
        for row in await connection.fetch(query, *rule_columns(rules)):
            if row["unruled"] is not None:
                raise missing_rule(row["unruled"])
            balances[row["shard"], row["account"], row["currency"]] += int(row["total"])
    [(_, file_now)] = await connection.fetch(EXTENT)
    confirm_same_file(file, file_now)
    return dict(balances)


def rule_columns(rules: RuleSet) -> tuple[list[Any], ...]:
    """Return the rules as the columns that the statements unnest."""
    rows: list[
        tuple[str, datetime, datetime | None, str | None, str | None, str | None, str | None]
    ]
    rows = [
        (kind, rule.valid_from, rule.valid_until, *_named(rule.debit), *_named(rule.credit))
        for kind, rule in rules.rows()
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _named(ref: AccountRef | None) -> tuple[str | None, str | None]:
    return (ref.prefix, ref.variable) if ref else (None, None)

"""The same balances by plain SQL inside Postgres: the second opinion on the columnar fold."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from services.ledger.books.amount_slices import EXTENT, confirm_same_file, slices
from services.ledger.books.coverage import condition_of, source_of
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import AccountRef
from services.ledger.rules.postings import Balances
from services.ledger.rules.rule_set import RuleSet, missing_rule
from services.ledger.rules.variables import WORDS

if TYPE_CHECKING:
    import asyncpg

_FOLD: Final = """
WITH rule AS (
    SELECT rule.*, {named}
    FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
        WITH ORDINALITY AS rule(kind, valid_from, valid_until, debit, credit, number)
), summed AS (
    SELECT amount.shard, amount.kind, rule.number, currency AS of_currency, {words},
        sum(amount_minor) AS total
    FROM {covered}
    LEFT JOIN rule ON rule.kind = amount.kind AND occurred_at >= valid_from
        AND (valid_until IS NULL OR occurred_at < valid_until)
    WHERE {condition}
    GROUP BY amount.shard, amount.kind, rule.number, currency, {numbers}
)
SELECT shard, of_currency AS currency, sum(sign * total) AS total, {name} AS account,
    min(summed.kind) FILTER (WHERE summed.number IS NULL) AS unruled
FROM summed LEFT JOIN rule ON rule.number = summed.number
CROSS JOIN LATERAL (VALUES (1, debit), (-1, credit)) AS side(sign, template)
WHERE summed.number IS NULL OR side.template IS NOT NULL
GROUP BY shard, of_currency, account
"""


def _fold_of(covered: str, condition: str) -> str:
    """Return the statement; a word is kept apart only where a rule names it."""
    named = (
        f"strpos(debit || credit, '{{{each.name}}}') > 0 AS by_{each.column}" for each in WORDS
    )
    words = [
        f"CASE WHEN by_{each.column} THEN {each.column} END AS {each.column}" for each in WORDS
    ]
    name = reduce(lambda template, word: word.sql(template), WORDS, "side.template")
    return _FOLD.format(
        named=", ".join(named),
        words=", ".join(words),
        numbers=", ".join(str(number) for number in range(5, 5 + len(words))),
        covered=covered,
        condition=condition,
        name=name,
    )


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
        query = _fold_of(source_of(scope), condition)
        for row in await connection.fetch(query, *rule_columns(rules)):
            if row["unruled"] is not None:
                raise missing_rule(row["unruled"])
            balances[row["shard"], row["account"], row["currency"]] += int(row["total"])
    [(_, file_now)] = await connection.fetch(EXTENT)
    confirm_same_file(file, file_now)
    return dict(balances)


def rule_columns(rules: RuleSet) -> tuple[list[Any], ...]:
    """Return the rules as the columns that the statements unnest."""
    rows: list[tuple[str, datetime, datetime | None, str | None, str | None]]
    rows = [
        (kind, rule.valid_from, rule.valid_until, _template(rule.debit), _template(rule.credit))
        for kind, rule in rules.rows()
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _template(ref: AccountRef | None) -> str | None:
    return ref.template if ref else None

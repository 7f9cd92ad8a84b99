"""Keeps the `amount` and `balance` tables in step with the log, in the transaction that appends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.envelope import Event
from services.ledger.rules.amounts import MONEY_FACTS, Amount, amounts_of
from services.ledger.rules.postings import Balances, post, postings_of
from services.ledger.rules.rule_set import RuleSet
from services.runtime.log.event_log import StoredEvent, Transaction
from services.runtime.processor import Filed, Incoming, Projection

MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"
AMOUNT_COLUMNS: Final = (
    "shard",
    "position",
    "ordinal",
    "kind",
    "account_id",
    "jurisdiction",
    "gateway",
    "currency",
    "amount_minor",
    "occurred_at",
    "recorded_at",
)
AMOUNTS_BETWEEN: Final = (
    f"SELECT {', '.join(AMOUNT_COLUMNS)} FROM amount"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position, ordinal"
)
AMOUNTS_BEYOND: Final = (
    # What was appended since has its event.
    "SELECT amount.shard, amount.position FROM unnest($1::int[], $2::bigint[]) AS walked(shard, last)"
    " JOIN amount ON amount.shard = walked.shard AND amount.position > walked.last"
    " LEFT JOIN event ON event.shard = amount.shard AND event.position = amount.position"
    " WHERE event.shard IS NULL"
    " UNION ALL SELECT shard, position FROM amount WHERE shard < $3 OR shard > $4"
    " ORDER BY 1, 2 LIMIT 1"
)
"""The first amount behind the last event of its shard, or in no shard."""
_MOVING: Final = frozenset(model.wire_type() for model in MONEY_FACTS)

_ADD_TO_BALANCES: Final = (
    "INSERT INTO balance (shard, account, currency, amount_minor)"
    " SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::numeric[])"
    " ON CONFLICT (shard, account, currency)"
    " DO UPDATE SET amount_minor = balance.amount_minor + excluded.amount_minor"
)


def projection(rules: RuleSet) -> Projection:
    """Return the projection that books by `rules`."""

    async def project(
        tx: Transaction, appended: Sequence[Filed], _handled: Sequence[Incoming]
    ) -> None:
        rows: list[tuple[object, ...]] = []
        balances: Balances = defaultdict(int)
        for stored, event in appended:
            if stored.type in _MOVING:
                amounts = amounts_of(event)
                rows += amount_rows(stored, amounts)
                _book(stored, event, amounts, rules, balances)
            else:
                post(event, stored.occurred_at, rules)
        await _write(tx.connection, rows, balances)

    return project


def amount_rows(stored: StoredEvent, amounts: Iterable[Amount]) -> list[tuple[object, ...]]:
    """Return the rows of AMOUNT_COLUMNS for one event."""
    return [
        (
            stored.shard,
            stored.position,
            ordinal,
            amount.kind,
            stored.account_id,
            amount.jurisdiction,
            amount.gateway,
            amount.money.currency,
            amount.money.amount_minor,
            stored.occurred_at,
            stored.recorded_at,
        )
        for ordinal, amount in enumerate(amounts)
    ]


def _book(
    stored: StoredEvent, event: Event, amounts: list[Amount], rules: RuleSet, balances: Balances
) -> None:
    for amount in amounts:
        rule = rules.for_kind(amount.kind, stored.occurred_at)
        for posting in postings_of(amount, event.account_id, rule):
            balances[stored.shard, posting.account, posting.currency] += posting.amount_minor


async def _write(connection: Any, rows: list[tuple[object, ...]], balances: Balances) -> None:  # noqa: ANN401 - an asyncpg connection
    if rows:
        await connection.copy_records_to_table("amount", columns=AMOUNT_COLUMNS, records=rows)
    if balances:
        # One order of keys for every writer, so that two transactions cannot deadlock.
        keys = sorted(balances)
        await connection.execute(
            _ADD_TO_BALANCES,
            [shard for shard, _, _ in keys],
            [account for _, account, _ in keys],
            [currency for _, _, currency in keys],
            [balances[key] for key in keys],
        )

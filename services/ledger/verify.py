"""Verifies the books: the log against itself, and every table against the log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from services.ledger.accounts import BONUS_OFFSET, WALLET_BONUS, chart_entry
from services.ledger.cache import cached_balances
from services.ledger.checks import (
    REBUILD,
    RESTORE,
    BodyCheck,
    ChainCheck,
    Check,
    Chunk,
    EventCheck,
    PositionCheck,
)
from services.ledger.log_checks import (
    check_cursors,
    check_dead_letters,
    check_sequences,
    check_streams,
)
from services.ledger.postings import Balances
from services.ledger.projection import AMOUNT_COLUMNS
from services.ledger.replay import Progress, Scope, fold_columns
from services.ledger.reports import report
from services.ledger.rules import RuleSet
from services.ledger.sql_fold import fold_sql
from services.runtime.errors import Halt
from services.runtime.log.event_log import ShardHead
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event

if TYPE_CHECKING:
    import asyncpg

_CHUNK: Final = 2000
_FOLDS: Final = (
    "when `amount table` failed too, mend that; else correct posting_rules.toml or the fold"
)
_SIDES: Final = "read `perennial ledger statement` of that account: which event took too much?"
_EVENTS: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position"
)
_AMOUNTS: Final = (
    f"SELECT {', '.join(AMOUNT_COLUMNS)} FROM amount"  # noqa: S608 - as above
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position, ordinal"
)
_AMOUNT_OF_NO_EVENT: Final = (
    "SELECT amount.shard, amount.position FROM amount LEFT JOIN event USING (shard, position)"
    " WHERE event.shard IS NULL ORDER BY 1, 2 LIMIT 1"
)


async def heads_of(connection: asyncpg.Connection) -> dict[int, ShardHead]:
    """Return where each shard of the log ends."""
    rows = await connection.fetch(
        "SELECT shard, head_position, head_hash, head_sequence FROM shard ORDER BY shard"
    )
    return {row["shard"]: ShardHead(*tuple(row)[1:]) for row in rows}


async def verify(
    connection: asyncpg.Connection,
    dsn: str,
    schema: str,
    rules: RuleSet,
    on_progress: Progress | None = None,
) -> list[Check]:
    """Run every check on one snapshot; the ledger may go on meanwhile.

    `on_progress` counts events read. `dsn` and `schema` are for the columnar fold, which has a
    connection of its own and reads no further than the positions of the snapshot.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        heads = await heads_of(connection)
        chain, positions, bodies = ChainCheck(heads), PositionCheck(heads), BodyCheck(rules)
        await _walk(connection, heads, (chain, positions, bodies), on_progress)
        scope = Scope({shard: head.position for shard, head in heads.items()})
        by_columns = await _folded(asyncio.to_thread(fold_columns, dsn, schema, scope, rules))
        by_sql = await _folded(fold_sql(connection, scope, rules))
        log = [
            await check(connection)
            for check in (check_streams, check_sequences, check_cursors, check_dead_letters)
        ]
        beyond = await connection.fetchrow(_AMOUNT_OF_NO_EVENT)
        cached = await cached_balances(connection)
    stray = f"shard {beyond[0]} position {beyond[1]} has amounts and no event" if beyond else None
    return [
        chain.result(),
        positions.result(),
        *log,
        bodies.result(),
        bodies.amounts(stray),
        _same("SQL fold = body fold", by_sql, bodies.balances, _FOLDS),
        _same("columnar fold = body fold", by_columns, bodies.balances, _FOLDS),
        _same("cache = replay", cached, by_columns, REBUILD),
        *_sound(report(dict(bodies.balances), scope, rules).totals),
    ]


async def _walk(
    connection: asyncpg.Connection,
    heads: Mapping[int, ShardHead],
    checks: Sequence[EventCheck],
    on_progress: Progress | None,
) -> None:
    for shard in heads:
        async for chunk in _chunks(connection, shard):
            for check in checks:
                check.take(chunk)
            if on_progress is not None:
                on_progress(len(chunk.events))
            await asyncio.sleep(0)


async def _chunks(connection: asyncpg.Connection, shard: int) -> AsyncIterator[Chunk]:
    newest = await connection.fetchval("SELECT max(position) FROM event WHERE shard = $1", shard)
    for first in range(0, newest or 0, _CHUNK):
        bounds = (shard, first, first + _CHUNK)
        events = [stored_event(row) for row in await connection.fetch(_EVENTS, *bounds)]
        amounts: dict[int, list[tuple[object, ...]]] = defaultdict(list)
        for row in await connection.fetch(_AMOUNTS, *bounds):
            amounts[row["position"]].append(tuple(row))
        yield Chunk(events, amounts)


async def _folded(fold: Awaitable[Balances]) -> Balances | Halt:
    try:
        return await fold
    except Halt as error:
        return error


def _same(name: str, left: Balances | Halt, right: Balances | Halt, advice: str) -> Check:
    """Compare two ways to the same balances; the name of the check says which ways."""
    if isinstance(left, Halt):
        return Check(name, "nothing", str(left), advice)
    if isinstance(right, Halt):
        return Check(name, "nothing", str(right), advice)
    first, second = name.split(" = ")
    compared = f"{len(right)} balances"
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            shard, account, currency = key
            problem = (
                f"{account} {currency} in shard {shard}: {first} {_told(left, key)}, "
                f"{second} {_told(right, key)}"
            )
            return Check(name, compared, problem, advice)
    return Check(name, compared)


def _told(balances: Balances, key: tuple[int, str, str]) -> str:
    return str(balances[key]) if key in balances else "has none"


def _sound(totals: Mapping[tuple[str, str], int]) -> list[Check]:
    """Check what holds of any sound books: sums of zero, normal sides, bonus cancelled."""
    sums: dict[str, int] = defaultdict(int)
    bonus: dict[str, int] = defaultdict(int)
    wrong_side: list[str] = []
    for (account, currency), minor in sorted(totals.items()):
        sums[currency] += minor
        if account == BONUS_OFFSET or account.startswith(WALLET_BONUS):
            bonus[currency] += minor
        entry = chart_entry(account)
        if entry.one_sided and (minor < 0 if entry.normal == "debit" else minor > 0):
            wrong_side.append(f"{account} holds {minor} {currency}, not a {entry.normal} balance")
    return [
        _zero("trial balance is zero", sums, "all accounts"),
        _zero("bonus is cancelled", bonus, "bonus and its offset"),
        Check(
            "normal sides", f"{len(totals)} accounts", wrong_side[0] if wrong_side else None, _SIDES
        ),
    ]


def _zero(name: str, sums: Mapping[str, int], what: str) -> Check:
    wrong = [f"{what} sum to {minor} {currency}" for currency, minor in sums.items() if minor]
    return Check(name, f"{len(sums)} currencies", wrong[0] if wrong else None, RESTORE)

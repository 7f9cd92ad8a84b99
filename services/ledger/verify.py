"""Verifies the books: the log against itself, and every table against the log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from schemas.envelope import Source
from services.ledger.accounts import BONUS_OFFSET, WALLET_BONUS, chart_entry
from services.ledger.cache import cached_balances
from services.ledger.checks import (
    REBUILD,
    RESTORE,
    BodyCheck,
    Chunk,
)
from services.ledger.columns import Progress, fold_columns
from services.ledger.log_checks import (
    SequenceCheck,
    check_cursors,
    check_dead_letters,
    check_streams,
)
from services.ledger.postings import Balances
from services.ledger.projection import AMOUNT_COLUMNS
from services.ledger.replay import Scope
from services.ledger.reports import report
from services.ledger.rules import RuleSet
from services.ledger.sql_fold import fold_sql
from services.runtime.errors import Park
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import ChainCheck, Check, LogCheck, LogHead, PositionCheck
from services.runtime.verify.slices import heads_of, marks_of, slices_of

if TYPE_CHECKING:
    import asyncpg

_FOLDS: Final = (
    "when `amount table` failed too, mend that; else correct posting_rules.toml or the fold"
)
_SIDES: Final = "read `perennial ledger statement` of that account: which event took too much?"
_AMOUNTS: Final = (
    f"SELECT {', '.join(AMOUNT_COLUMNS)} FROM amount"  # noqa: S608 - as above
    " WHERE shard = $1 AND position > $2 AND position <= $3 ORDER BY position, ordinal"
)
_BEYOND: Final = (
    # What was appended since has its event.
    "SELECT amount.shard, amount.position FROM unnest($1::int[], $2::bigint[]) AS walked(shard, last)"
    " JOIN amount ON amount.shard = walked.shard AND amount.position > walked.last"
    " LEFT JOIN event ON event.shard = amount.shard AND event.position = amount.position"
    " WHERE event.shard IS NULL"
    " UNION ALL SELECT shard, position FROM amount WHERE shard < $3 OR shard > $4"
    " ORDER BY 1, 2 LIMIT 1"
)


async def verify(  # noqa: PLR0913 - what the folds need, and what of it is wanted
    connection: asyncpg.Connection,
    dsn: str,
    schema: str,
    rules: RuleSet,
    on_progress: Progress | None = None,
    *,
    chain: bool = True,
) -> list[Check]:
    """Run every check up to the heads of this moment, in slices; the ledger may go on meanwhile.

    Without `chain`, the log is not compared with itself: somebody else does it. `on_progress`
    counts events read. `dsn` and `schema` are for the columnar fold, which has a connection of its
    own. Balances change, so they are read together with the heads; the rest only grows.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        heads = await heads_of(connection)
        marks = await marks_of(connection)
        cached = await cached_balances(connection)
    log_checks: list[LogCheck] = [ChainCheck(heads), PositionCheck(heads)] if chain else []
    sequences = SequenceCheck.of(marks, heads)
    bodies = BodyCheck(rules)
    walked = await _walk(connection, heads, [*log_checks, sequences], bodies, on_progress)
    scope = Scope({shard: head.position for shard, head in heads.items()})
    by_columns = await _folded(asyncio.to_thread(fold_columns, dsn, schema, scope, rules))
    by_sql = await _folded(fold_sql(connection, scope, rules))
    tables = [
        await check_streams(connection),
        sequences.result(),
        await check_cursors(connection, sequences.events_of(Source.ORDERS)),
        await check_dead_letters(connection),
    ]
    bodies.see_stray(await _beyond(connection, walked))
    return [
        *(check.result() for check in log_checks),
        *tables,
        bodies.result(),
        bodies.amounts(),
        bodies.refunds.result(),
        _same("SQL fold = body fold", by_sql, bodies.balances, _FOLDS),
        _same("columnar fold = body fold", by_columns, bodies.balances, _FOLDS),
        _same("cache = replay", cached, by_columns, REBUILD),
        *_sound(report(dict(bodies.balances), scope, rules).totals),
    ]


async def _walk(
    connection: asyncpg.Connection,
    heads: Mapping[int, LogHead],
    log_checks: Sequence[LogCheck],
    bodies: BodyCheck,
    on_progress: Progress | None,
) -> dict[int, int]:
    """Show the whole log to the checks; return the last position of each shard."""
    walked = dict.fromkeys(heads, 0)
    for shard in heads:
        async for events in slices_of(connection, shard, heads):
            for check in log_checks:
                check.look(events)
            bodies.take(await _with_amounts(connection, shard, walked[shard], events))
            walked[shard] = events[-1].position if events else walked[shard]
            if on_progress is not None:
                on_progress(len(events))
    return walked


async def _beyond(
    connection: asyncpg.Connection, walked: Mapping[int, int]
) -> tuple[int, int] | None:
    """Return the place of an amount behind the events of its shard, or in no shard."""
    shards = list(walked)
    bounds = (shards, list(walked.values()), min(shards, default=0), max(shards, default=0))
    row = await connection.fetchrow(_BEYOND, *bounds)
    return None if row is None else (row[0], row[1])


async def _with_amounts(
    connection: asyncpg.Connection, shard: int, after: int, events: Sequence[StoredEvent]
) -> Chunk:
    amounts: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    if events:
        bounds = (shard, after, events[-1].position)
        for row in await connection.fetch(_AMOUNTS, *bounds):
            amounts[row["position"]].append(tuple(row))
    return Chunk(events, amounts)


async def _folded(fold: Awaitable[Balances]) -> Balances | Park:
    try:
        return await fold
    except Park as error:
        return error


def _same(name: str, left: Balances | Park, right: Balances | Park, advice: str) -> Check:
    """Compare two ways to the same balances; the name of the check says which ways."""
    if isinstance(left, Park):
        return Check(name, "nothing", str(left), advice)
    if isinstance(right, Park):
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

"""Verifies the books: the log against itself, and every table against the log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from schemas.topics import Source
from services.ledger.books.cache import cached_balances
from services.ledger.books.columns import Progress, fold_columns
from services.ledger.books.projection import AMOUNTS_BETWEEN, AMOUNTS_BEYOND
from services.ledger.books.sql_fold import fold_sql
from services.ledger.reports.balance_report import report
from services.ledger.reports.scope import Scope
from services.ledger.rules.postings import Balances
from services.ledger.rules.rule_set import RuleSet
from services.ledger.verification.balance_checks import same, sound
from services.ledger.verification.body_check import REBUILD, BodyCheck, Chunk
from services.ledger.verification.log_checks import (
    SequenceCheck,
    check_cursors,
    check_dead_letters,
    check_streams,
)
from services.runtime.errors import Park
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import ChainCheck, Check, LogCheck, LogHead, PositionCheck
from services.runtime.verify.slices import heads_of, marks_of, slices_of

if TYPE_CHECKING:
    import asyncpg

_FOLDS: Final = (
    "when `amount table` failed too, mend that; else correct posting_rules.toml or the fold"
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
    numbers = await _numbers(connection, sequences)
    bodies.see_stray(await _beyond(connection, walked))
    return [
        *(check.result() for check in log_checks),
        *numbers,
        bodies.result(),
        bodies.amounts(),
        bodies.refunds.result(),
        same("SQL fold = body fold", by_sql, bodies.balances, _FOLDS),
        same("columnar fold = body fold", by_columns, bodies.balances, _FOLDS),
        same("cache = replay", cached, by_columns, REBUILD),
        *sound(report(dict(bodies.balances), scope, rules).totals),
    ]


async def _numbers(connection: asyncpg.Connection, sequences: SequenceCheck) -> list[Check]:
    """Check what is numbered or counted, after the walk."""
    return [
        await check_streams(connection),
        sequences.result(),
        await check_cursors(connection, sequences.events_of(Source.ORDERS)),
        await check_dead_letters(connection),
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
    row = await connection.fetchrow(AMOUNTS_BEYOND, *bounds)
    return None if row is None else (row[0], row[1])


async def _with_amounts(
    connection: asyncpg.Connection, shard: int, after: int, events: Sequence[StoredEvent]
) -> Chunk:
    amounts: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    if events:
        bounds = (shard, after, events[-1].position)
        for row in await connection.fetch(AMOUNTS_BETWEEN, *bounds):
            amounts[row["position"]].append(tuple(row))
    return Chunk(events, amounts)


async def _folded(fold: Awaitable[Balances]) -> Balances | Park:
    try:
        return await fold
    except Park as error:
        return error

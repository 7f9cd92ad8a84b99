"""Balances from scratch: the columnar fold beside a plain COPY, and beside a library's replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg

from deploy.bench.results.figures import Figure
from deploy.bench.results.plan import BenchPlan
from deploy.bench.rig import Rig
from deploy.local.errors import StackError
from schemas.registry import SHARD_COUNT_DEFAULT
from services.ledger.books.columns import fold_columns
from services.ledger.books.coverage import resolve_scope
from services.ledger.reports.scope import Scope
from services.ledger.rules.rule_file import POSTING_RULES, load_rules

NAMES: Final = ("replay", "replay_vs_eventsourcing", "scaling_replay")
_REPEATS: Final = 3
_COLUMNS: Final = (
    "SELECT shard, kind, account_id, jurisdiction, gateway, currency, amount_minor, occurred_at"
    " FROM ledger.amount"
)
_FILL: Final = """
INSERT INTO ledger.amount (shard, position, ordinal, kind, account_id, jurisdiction, gateway,
    currency, amount_minor, occurred_at, recorded_at)
SELECT i % {shards}, i / {shards} / 3 * 3 + 2, i / {shards} % 3,
    'PaymentCaptured.renewal.card.' || (ARRAY['net', 'tax', 'fee'])[i / {shards} % 3 + 1],
    'acct-' || i / 3 % 10000, CASE WHEN i / {shards} % 3 = 1 THEN 'US' END,
    'sandbox-card', 'USD',
    (ARRAY[3000, 180, 92])[i / {shards} % 3 + 1], now(), now()
FROM generate_series({first}::bigint, {last}::bigint - 1) AS i;
UPDATE ledger.shard SET head_position = found.n + 1
FROM (SELECT shard, max(position) AS n FROM ledger.amount GROUP BY shard) AS found
WHERE found.shard = shard.shard;
"""


def replay(rig: Rig, plan: BenchPlan) -> list[Figure]:
    """Return the rate of a replay, what the library manages, and the growth of the cost.

    A renewal has three events and states three amounts, so rows of `amount` count as events.
    """
    rig.fresh()
    sizes = sorted({*plan.scaling_events, plan.replay_events})
    filled = 0
    folds: dict[int, float] = {}
    copied = 0.0
    for size in sizes:
        rig.execute(_FILL.format(first=filled, last=size, shards=SHARD_COUNT_DEFAULT))
        rig.settle()
        filled = size
        folds[size] = _fastest(lambda: _fold(rig, size))  # noqa: B023 - called at once
        if size == plan.replay_events:
            copied = _fastest(lambda: asyncio.run(_copy_out(rig)))
        rig.say(f"replay of {size:,} events: {folds[size]:.2f} s")
    rate = plan.replay_events / folds[plan.replay_events]
    library = _library_rate(plan.library_events, rig.stack.folder)
    small, large = plan.scaling_events[0], plan.scaling_events[-1]
    note = f"{plan.replay_events:,} events; fastest of {_REPEATS}"
    return [
        Figure("replay", rate, "events/s", "binary COPY of the same columns",
               plan.replay_events / copied, "0.4; 1,000,000", note),
        Figure("replay_vs_eventsourcing", rate, "events/s", "eventsourcing, SQLite", library, "20",
               f"{plan.library_events:,} events there"),
        Figure("scaling_replay", 1e6 * folds[large] / large, "µs/event", f"at {small:,} events",
               1e6 * folds[small] / small, "at most 1.2", f"at {large:,} events"),
    ]  # fmt: skip


def _fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest try: noise only ever adds."""
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _fold(rig: Rig, size: int) -> None:
    dsn = rig.dsn("ledger")
    scope = asyncio.run(_scope(dsn))
    balances = fold_columns(dsn, "ledger", scope, load_rules(POSTING_RULES))
    owed = sum(minor for (_, account, _), minor in balances.items() if account.startswith("L"))
    renewals = size // (3 * SHARD_COUNT_DEFAULT) * SHARD_COUNT_DEFAULT
    if sum(balances.values()) or abs(owed) < renewals * (3000 + 180):
        message = "the replay's books are not what was filled in: its time means nothing"
        raise StackError(message)


async def _scope(dsn: str) -> Scope:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "ledger"})
    try:
        return await resolve_scope(connection)
    finally:
        await connection.close()


async def _copy_out(rig: Rig) -> int:
    """Take the same columns out as fast as Postgres gives them, and look at none of them."""
    connection = await asyncpg.connect(rig.dsn("ledger"))
    taken = 0

    async def discard(data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    try:
        await connection.copy_from_query(_COLUMNS, output=discard, format="binary")
    finally:
        await connection.close()
    return taken


def _library_rate(count: int, folder: Path) -> float:
    try:
        from deploy.bench.parts.library import replay_rate  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError:
        message = "the library to compare with is missing: install the extra `bench`"
        raise StackError(message) from None
    return replay_rate(count, folder / "library.sqlite")

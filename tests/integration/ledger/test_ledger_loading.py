"""A wallet of 20,000 charges is loaded and folded without keeping the loop from anybody for long."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import thread_time
from uuid import UUID

import uvloop

from schemas.requests import PaymentMethod
from services.ledger.decider import FileFact
from services.ledger.handlers import build_processor
from services.runtime.app.start import collect_garbage_seldom
from services.runtime.flow.journal import Journal
from services.runtime.flow.work import Work
from services.runtime.log.event_log import chain_hash
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.processor import Task
from tests.books import LOW_BALANCE, Books, Kind, Operation
from tests.integration.ledger.ledger_database import RULES, LedgerDatabase, open_ledger_database

CHARGES = 20_000
TURN_SECONDS_MAX = 0.05
"""Of CPU: what other processes of the machine take meanwhile is not ours."""


@dataclass
class Turns:
    """How often the loop came around, and the CPU seconds of the longest time between two turns."""

    count: int = 0
    longest: float = 0.0


@asynccontextmanager
async def watching() -> AsyncIterator[Turns]:
    """Measure the loop meanwhile."""
    turns = Turns()

    async def watch() -> None:
        last = thread_time()
        while True:
            await asyncio.sleep(0)
            now = thread_time()
            turns.count, turns.longest, last = turns.count + 1, max(turns.longest, now - last), now

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        task.cancel()


def operation(kind: Kind, amount_minor: int) -> Operation:
    return Operation(kind, 1, amount_minor, 0, "USD", None, PaymentMethod.CARD)


async def write_log(ledger: LedgerDatabase, books: Books) -> None:
    """File what the ledger would have filed, without deciding it again."""
    rows = books.stored()
    shard = books.published[0].shard
    async with PostgresEventLog(ledger.pool).transaction(shards={shard}) as tx:
        head = tx.heads[shard]
        filed = []
        for row in rows:
            stored = row._replace(
                shard=shard, stream_id="wallet/acct-1", stream_version=row.position
            )
            filed.append(stored._replace(hash=chain_hash(head.hash, stored)))
            head.position, head.hash = filed[-1].position, filed[-1].hash
        await tx.append(filed)


@contextmanager
def collecting_as_a_service_does() -> Iterator[None]:
    """Leave the garbage of the tests before alone, as a service leaves what it was started with."""
    thresholds = gc.get_threshold()
    gc.collect()
    collect_garbage_seldom()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def test_loading_a_wallet_of_many_charges_leaves_the_loop_to_others(fresh_database: str) -> None:
    books = Books().play([operation("top_up", 10**9)] + [operation("wallet", 100)] * CHARGES)

    async def load() -> tuple[int, Turns]:
        shard = books.published[0].shard
        async with open_ledger_database(fresh_database) as ledger:
            await write_log(ledger, books)
            journal = Journal(build_processor(rules=RULES, low_balance=LOW_BALANCE))
            transaction = PostgresEventLog(ledger.pool).transaction(shards={shard})
            task = Task("wallet/acct-1", FileFact())
            work = Work(task, shard, "acct-1", "a restart", UUID(int=0), "", None)
            with collecting_as_a_service_does():
                async with watching() as turns, journal.session(transaction) as session:
                    await session.load([work])
            return session.streams["wallet/acct-1"].stream_version, turns

    version, turns = uvloop.run(load())
    assert version > 2 * CHARGES
    assert turns.longest < TURN_SECONDS_MAX

"""One transaction of a gateway serves one order: one suite for claims in memory and in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import permutations
from typing import Protocol
from uuid import UUID

import asyncpg
import pytest

from schemas.envelope import Event
from schemas.orders import Consideration, OrderExpired, PaymentCaptured
from schemas.requests import PaymentMethod
from services.cli.setup.setup import set_up_postgres
from services.orders.payments.claims.port import Claims
from services.orders.payments.claims.transactions import (
    MemoryClaims,
    PostgresClaims,
    claim_captured,
    restore_claims,
)
from services.runtime.app.start import open_pool
from services.runtime.errors import Poison
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_log import PostgresEventLog
from services.runtime.processor import Filed
from tests.controls import T0, settings_for
from tests.unit.orders.builders import usd

SHARDS = 4
RACES = 25
ORDERS = ("order/a", "order/b", "topup/a")


class Book(Protocol):
    """Where claims are kept, and the three ways to make them."""

    @property
    def claims(self) -> Claims:
        """Return what confirmations claim with."""

    async def record(self, *events: tuple[str, Event]) -> None:
        """Claim with events that are being recorded."""

    async def restore(self, *events: tuple[int, str, Event]) -> None:
        """Claim what a log holds, given with the second that it was recorded at."""

    async def owners(self) -> dict[tuple[str, str], str]:
        """Return every claim."""

    async def lose(self) -> None:
        """Forget every claim."""


@dataclass
class MemoryBook:
    """The claims of the specifications."""

    kept: MemoryClaims = field(default_factory=MemoryClaims)

    @property
    def claims(self) -> Claims:
        return self.kept

    async def record(self, *events: tuple[str, Event]) -> None:
        self.kept.record(events)

    async def restore(self, *events: tuple[int, str, Event]) -> None:
        self.kept.restore(at_seconds(events))

    async def owners(self) -> dict[tuple[str, str], str]:
        return self.kept.owners

    async def lose(self) -> None:
        self.kept.owners = {}


@dataclass
class PostgresBook:
    """The claims of the service, with its own role; each stream has a shard."""

    pool: asyncpg.Pool
    admin_dsn: str

    @property
    def claims(self) -> Claims:
        return PostgresClaims(self.pool)

    async def record(self, *events: tuple[str, Event]) -> None:
        shards = {shard_of_stream(stream_id) for stream_id, _ in events}
        async with PostgresEventLog(self.pool).transaction(shards=shards) as tx:
            filed = [Filed(stored(stream_id, event), event) for stream_id, event in events]
            await claim_captured(tx, filed, ())

    async def restore(self, *events: tuple[int, str, Event]) -> None:
        async with PostgresEventLog(self.pool).transaction() as tx:
            await restore_claims(tx.connection, at_seconds(events))

    async def owners(self) -> dict[tuple[str, str], str]:
        rows = await self.pool.fetch("SELECT * FROM gateway_transaction")
        return {(row["gateway"], row["gateway_txn_id"]): row["stream_id"] for row in rows}

    async def lose(self) -> None:
        connection = await asyncpg.connect(self.admin_dsn)
        await connection.execute("TRUNCATE orders.gateway_transaction")
        await connection.close()


@pytest.fixture
async def book(database: str | None) -> AsyncIterator[Book]:
    if database is None:
        yield MemoryBook()
        return
    await set_up_postgres(database, "orders", "secret", SHARDS)
    pool = await open_pool("orders", settings_for(database, role="perennial_orders:secret"))
    try:
        yield PostgresBook(pool, database)
    finally:
        await pool.close()


def shard_of_stream(stream_id: str) -> int:
    """Return a shard; the first orders of these tests lie in different ones."""
    return sum(stream_id.encode()) % SHARDS


def at_seconds(
    events: Iterable[tuple[int, str, Event]],
) -> list[tuple[datetime, str, Event]]:
    return [(T0 + timedelta(seconds=second), stream, event) for second, stream, event in events]


def captured(
    stream_id: str, txn: str = "t-1", *, gateway: str = "g", method: str = "card"
) -> Event:
    kind, _, name = stream_id.partition("/")
    return PaymentCaptured(
        account_id="acct-1",
        renewal_id=name if kind == "order" else None,
        topup_id=name if kind == "topup" else None,
        payment_id=f"pay-{name}",
        attempt=1,
        gateway=gateway,
        gateway_txn_id=txn,
        method=PaymentMethod(method),
        amount=usd(100),
        consideration=Consideration(net=usd(100), tax=usd(0), tax_jurisdiction="no", bonus=usd(0)),
        captured_at=T0,
    )


def stored(stream_id: str, event: Event) -> StoredEvent:
    return StoredEvent(
        shard=shard_of_stream(stream_id),
        position=1,
        stream_id=stream_id,
        stream_version=1,
        event_id=UUID(int=1),
        source="/billing/orders",
        type=event.wire_type(),
        sequence=1,
        account_id="acct-1",
        correlation_id="c",
        causation_id=None,
        traceparent=None,
        occurred_at=T0,
        recorded_at=T0,
        body=event.body(),
    )


async def attempt(book: Book, stream_id: str, txn: str) -> bool:
    """Record a capture; say whether the transaction was free or the order's own."""
    try:
        await book.record((stream_id, captured(stream_id, txn)))
    except Poison as refused:
        return refused.reason != "transaction_already_used"
    return True


async def test_the_first_that_claims_has_it_and_everybody_is_told_so(book: Book) -> None:
    for stream_id in ("order/a", "order/b", "order/a", "topup/a"):
        assert await book.claims.claim("g", "t-1", stream_id) == "order/a"
    assert await book.owners() == {("g", "t-1"): "order/a"}


async def test_a_claim_repeated_by_its_own_order_changes_nothing(book: Book) -> None:
    event = captured("order/a")
    assert await book.claims.claim("g", "t-1", "order/a") == "order/a"
    for _ in range(2):
        await book.record(("order/a", event), ("order/a", event))
        assert await book.claims.claim("g", "t-1", "order/a") == "order/a"
    assert await book.owners() == {("g", "t-1"): "order/a"}


async def test_a_transaction_is_named_by_its_gateway_and_to_the_letter(book: Book) -> None:
    names = [("g", "t-1"), ("g", "T-1"), ("G", "t-1"), ("g", "t-1.0"), ("g.t", "1"), ("g", "t.1")]
    for number, (gateway, txn) in enumerate(names):
        assert await book.claims.claim(gateway, txn, f"order/{number}") == f"order/{number}"
    assert len(await book.owners()) == len(names)


async def test_a_renewal_and_a_top_up_with_one_id_are_two_orders(book: Book) -> None:
    assert await attempt(book, "order/a", "t-1")
    assert not await attempt(book, "topup/a", "t-1")


async def test_what_serves_another_order_cannot_be_recorded(book: Book) -> None:
    await book.claims.claim("g", "t-1", "order/a")
    with pytest.raises(Poison, match="serves order/a already: ask the gateway's people"):
        await book.record(("order/b", captured("order/b")))
    assert await book.owners() == {("g", "t-1"): "order/a"}


async def test_what_is_recorded_together_is_claimed_together_or_not_at_all(book: Book) -> None:
    await book.record(("order/a", captured("order/a")))
    both = [("order/b", captured("order/b", "t-2")), ("order/b", captured("order/b"))]
    with pytest.raises(Poison):
        await book.record(*both)
    assert await book.owners() == {("g", "t-1"): "order/a"}
    twice = [("order/b", captured("order/b", "t-3")), ("topup/a", captured("topup/a", "t-3"))]
    with pytest.raises(Poison):
        await book.record(*twice)
    assert await book.owners() == {("g", "t-1"): "order/a"}


async def test_payments_from_the_wallet_and_other_events_claim_nothing(book: Book) -> None:
    expired = OrderExpired(account_id="acct-1", renewal_id="a", expired_at=T0)
    await book.record(("order/a", captured("order/a", method="wallet")), ("order/a", expired))
    await book.record(("order/b", captured("order/b", method="wallet")))
    assert await book.owners() == {}


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_rebuild_gives_each_transaction_to_the_order_that_recorded_it_first(
    book: Book, order: tuple[int, ...]
) -> None:
    log = [(second, each, captured(each)) for second, each in enumerate(ORDERS)]
    await book.restore(*(log[place] for place in order))
    assert await book.owners() == {("g", "t-1"): "order/a"}


async def test_a_rebuild_takes_events_of_one_moment_and_one_order(book: Book) -> None:
    await book.restore(*((1, "order/a", captured("order/a", name)) for name in ("t-2", "t-1")))
    assert await book.owners() == {("g", "t-1"): "order/a", ("g", "t-2"): "order/a"}


async def test_a_rebuild_makes_the_claims_that_were_lost_and_moves_none(book: Book) -> None:
    log = [(1, "order/a", captured("order/a")), (2, "order/b", captured("order/b", "t-2"))]
    await book.record(*((stream_id, event) for _, stream_id, event in log))
    before = await book.owners()
    await book.lose()
    await book.claims.claim("g", "t-3", "topup/a")  # not in the log: its result is under way

    for _ in range(2):
        await book.restore(*log)

    assert await book.owners() == before | {("g", "t-3"): "topup/a"}
    assert not await attempt(book, "order/b", "t-1")
    assert await book.claims.claim("g", "t-2", "order/a") == "order/b"


async def test_of_all_that_claim_at_once_in_any_way_and_shard_one_wins(book: Book) -> None:
    streams = [f"order/{name}" for name in "abcd"]
    assert len({shard_of_stream(each) for each in streams}) == SHARDS
    for number in range(RACES):
        txn = f"t-{number}"
        recorded = [attempt(book, each, txn) for each in streams]
        claimed = [book.claims.claim("g", txn, each) for each in (*streams, *streams)]
        told = await asyncio.gather(*recorded, *claimed)
        won, owners = told[: len(streams)], set(told[len(streams) :])
        (owner,) = owners
        assert (await book.owners())["g", txn] == owner
        assert [each for each, mine in zip(streams, won, strict=True) if mine] == [owner]


async def test_writers_that_want_many_transactions_in_any_order_do_not_lock_each_other_out(
    book: Book,
) -> None:
    names = [f"t-{number}" for number in range(20)]

    async def take_all(stream_id: str, wanted: list[str]) -> bool:
        try:
            await book.record(*((stream_id, captured(stream_id, txn)) for txn in wanted))
        except Poison:
            return False
        return True

    won = await asyncio.gather(
        take_all("order/a", names),
        take_all("order/b", names[::-1]),
        take_all("order/c", names[10:] + names[:10]),
    )
    assert sorted(won) == [False, False, True]
    assert len(set((await book.owners()).values())) == 1

"""What a decision sends to other streams: in the shard at once, to another shard by the topic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.topics import ORDERS
from services.runtime.errors import Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.flow.journal import Journal
from services.runtime.flow.sending import EndlessSends
from services.runtime.flow.work import Work
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.event_log import Parking
from services.runtime.processor import Decision, Send, Streams
from tests.controls import T0
from tests.unit.runtime.couriers import NEIGHBOUR, Bring, Couriers, decide
from tests.unit.runtime.toy import (
    ACCOUNT,
    ORDERS_OF,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    TOYS,
    WALLETS_OF,
    counted,
    memory_log,
    request,
    streams_of,
)

OWN = WALLETS_OF.stream_id(ACCOUNT)


@pytest.fixture
async def couriers() -> Couriers:
    found = Couriers(memory_log())
    await found.begin()
    return found


async def test_what_is_sent_within_the_account_is_decided_in_the_same_transaction(
    couriers: Couriers,
) -> None:
    couriers.ask(ACCOUNT, "0.0")
    result = await couriers.read()
    assert result
    assert result.events == 3
    assert await streams_of(couriers.log, "order/0.0", OWN) == [1, 2]


async def test_account_of_the_same_shard_is_reached_at_once_and_not_again_by_the_topic(
    couriers: Couriers,
) -> None:
    couriers.ask(ACCOUNT, "1")
    await couriers.read()
    assert (await couriers.counts())[NEIGHBOUR] == 1
    await couriers.publish()
    again = await couriers.read()
    assert again
    assert again.outcomes["ignored:sent_within_shard"] == 1
    assert (await couriers.counts())[NEIGHBOUR] == 1


async def test_account_of_another_shard_is_reached_by_the_topic_and_filed_in_its_own_shard(
    couriers: Couriers,
) -> None:
    couriers.ask(ACCOUNT, "2.0")
    await couriers.read()
    assert (await couriers.counts())[OTHER_ACCOUNT] == 0
    await couriers.settle()
    assert await couriers.counts() == {ACCOUNT: 1, NEIGHBOUR: 0, OTHER_ACCOUNT: 1}
    async with couriers.log.transaction() as tx:
        [[event, *_]] = (await tx.load_streams([WALLETS_OF.stream_id(OTHER_ACCOUNT)])).values()
    assert event.shard != SHARD
    assert event.account_id == OTHER_ACCOUNT
    assert event.correlation_id == "2.0"


async def test_event_that_was_published_twice_is_delivered_once(couriers: Couriers) -> None:
    couriers.ask(ACCOUNT, "2")
    await couriers.read()
    await couriers.publish(noted=False)
    await couriers.publish()
    await couriers.settle()
    assert (await couriers.counts())[OTHER_ACCOUNT] == 1


async def test_first_in_is_first_out(couriers: Couriers) -> None:
    met: list[str] = []

    def fan(command: Bring, _state: int) -> Decision:
        met.append(command.account_id)
        names = {"start": ("a", "b"), "a": ("c",), "b": ("d",)}.get(command.account_id, ())
        sends = (Send(WALLETS_OF.stream_id(name), Bring(name, ())) for name in names)
        return Decision(sends=tuple(sends))

    first = ORDERS_OF.decided_by(
        lambda *_: Decision(sends=(Send(WALLETS_OF.stream_id("start"), Bring("start", ())),))
    )
    couriers.processor = replace(
        couriers.processor, streams=Streams(TOYS, first, WALLETS_OF.decided_by(fan))
    )
    couriers.restart()
    couriers.ask(ACCOUNT, "0")
    await couriers.read()
    assert met == ["start", "a", "b", "c", "d"]


@pytest.mark.parametrize("breadth", [1, 2])
async def test_sends_without_an_end_are_refused_and_leave_nothing(
    couriers: Couriers, breadth: int
) -> None:
    again = Send(OWN, Bring(ACCOUNT, ()))
    endless = Decision((counted(),), sends=(again,) * breadth)
    kinds = (kind.decided_by(lambda *_: endless) for kind in (ORDERS_OF, WALLETS_OF))
    couriers.processor = replace(couriers.processor, streams=Streams(TOYS, *kinds))
    couriers.restart()
    couriers.ask(ACCOUNT, "0")
    with pytest.raises(EndlessSends, match="order/0 sends has no end"):
        await couriers.read()
    assert await streams_of(couriers.log, "order/0", OWN) == [0, 0]


@pytest.mark.parametrize("way", ["0.0", "0.0.0"], ids=["at once", "after it was counted"])
@pytest.mark.parametrize("trouble", [Poison("unlucky", "no"), ValueError("a defect")])
async def test_what_fails_where_it_was_sent_leaves_nothing_and_takes_nothing_along(
    trouble: Exception, way: str
) -> None:
    """The record before it and the one behind it are recorded in the same transaction."""

    def unlucky(command: Bring, state: int) -> Decision:
        if len(command.way) == 1:
            raise trouble
        return decide(command, state)

    log = memory_log()
    couriers = Couriers(log)
    kinds = (ORDERS_OF.decided_by(decide), WALLETS_OF.decided_by(unlucky))
    couriers.processor = replace(couriers.processor, streams=Streams(TOYS, *kinds))
    couriers.restart()
    await couriers.begin()
    works = [work_of(couriers, name) for name in ("0", way, "0-b")]
    transaction = log.transaction(shards={SHARD})
    async with Journal(couriers.processor).session(transaction) as session:
        await session.load(works)
        await session.apply(works[0], T0)
        with pytest.raises(type(trouble)):
            await session.apply(works[1], T0)
        await session.apply(works[2], T0)
        await session.flush(T0)
    assert await streams_of(log, "order/0", f"order/{way}", "order/0-b", OWN) == [1, 0, 1, 2]
    found = await log.unpublished("/billing/orders", [SHARD], limit=10)
    numbers = [(event.position, event.sequence) for event in found[SHARD].events]
    assert numbers == [(1, 1), (2, 2), (3, 3), (4, 4)]
    own = [event.stream_version for event in found[SHARD].events if event.stream_id == OWN]
    assert own == [1, 2], "the wallet goes on where it was before"


async def test_parked_shard_makes_what_is_sent_to_it_wait_in_order(couriers: Couriers) -> None:
    couriers.ask(ACCOUNT, "2")
    couriers.ask(ACCOUNT, "2-b")
    await couriers.read()
    await couriers.publish()
    shard = shard_of(OTHER_ACCOUNT, SHARDS)
    async with couriers.log.transaction(shards={shard}) as tx:
        await tx.park(Parking(shard, "unlucky", "a test"))
    result = await couriers.read()
    assert result
    assert (ORDERS.name, SHARD) in result.pauses
    assert (await couriers.counts())[OTHER_ACCOUNT] == 0
    async with couriers.log.transaction(shards={shard}) as tx:
        await tx.unpark(shard, "mended")
    await couriers.settle()
    assert (await couriers.counts())[OTHER_ACCOUNT] == 2


async def test_journal_that_does_not_know_the_shards_says_so() -> None:
    log = memory_log()
    couriers = Couriers(log)
    work = work_of(couriers, "2")
    async with Journal(couriers.processor).session(log.transaction(shards={SHARD})) as session:
        await session.load([work])
        with pytest.raises(TypeError, match="shard_of"):
            await session.apply(work, T0)


def work_of(couriers: Couriers, topup_id: str) -> Work:
    """Return what an upstream's request asks for."""
    parsed = RecordParser(couriers.processor, SHARDS).parse(request(topup_id=topup_id), T0)
    assert parsed.work
    return parsed.work

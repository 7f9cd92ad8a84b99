"""`perennial archive events`: orders that are over go to files, and nothing is begun anew."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog import get_logger

from schemas.confirmations import RefundInstructed
from schemas.orders import RenewalRejected
from schemas.topics import CONFIRMATIONS
from services.runtime.archive import events as archiving
from services.runtime.archive import plan
from services.runtime.flow.log_ends import LogWatch
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.event_log import LogEnd
from tests.integration.orders.orders_database import (
    LATER,
    SHARDS,
    Orders,
    archive_as_owner,
    failed,
    unread,
    verified,
)
from tests.unit.orders.builders import NOW, confirmation, in_app, renewal, usd
from tests.unit.orders.steps import pay_in_app, refund_confirmed

HOME = shard_of("acct-1", SHARDS)


async def names(orders: Orders) -> list[str]:
    """Return the names of the events that are in the database."""
    return [type(event).__name__ for event in await orders.events()]


async def test_repeated_request_for_an_archived_order_charges_nobody_again(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1", "ren-2")
    archived = await orders.archive(folder)
    assert [each.events for each in archived.written] == [5]
    assert await names(orders) == ["PlanActivated"]

    for _ in range(2):
        told = await orders.take(renewal(renewal_id="ren-1"), name="again")
        assert told == {"ignored:duplicate_request": 1}
        other = await orders.take(renewal(renewal_id="ren-1", quantity=2))
        await orders.again()
    assert other == {"ignored:duplicate_refused_request": 1}

    assert await names(orders) == ["PlanActivated", "RenewalRejected"]
    versions = await orders.pool.fetch("SELECT stream_version FROM event ORDER BY position")
    assert [row[0] for row in versions] == [3, 4]
    assert await orders.pool.fetchval("SELECT count(*) FROM effect") == 0
    assert failed(await verified(orders)) == failed(await verified(orders, folder)) == {}


async def test_archived_orders_are_sound_with_their_files_and_not_compared_without(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1", "ren-2", "ren-3")
    before = await verified(orders)
    await orders.archive(folder)

    without, whole = await verified(orders), await verified(orders, folder)

    assert failed(without) == failed(whole) == {}
    assert unread(before) == unread(whole) == {}
    assert set(unread(without)) == {"archive", "claims on transactions"}
    assert whole["hash chain"].compared == before["hash chain"].compared
    assert without["hash chain"].compared == "1 hashes in 2 shards"


async def paid_in_app(orders: Orders, name: str) -> None:
    """Have the gateway hold a payment for an order, and have it confirmed."""
    paid = confirmation(renewal_id=name, gateway_txn_id=f"txn-{name}")
    pay_in_app(orders, paid)
    await orders.take(paid)
    await orders.settle()


async def test_order_that_is_not_over_keeps_what_lies_behind_it(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1")
    await orders.take(renewal(renewal_id="ren-2", payment=in_app()))
    await orders.buy("ren-3")

    archived = await orders.archive(folder)

    assert [(each.first_position, each.last_position) for each in archived.written] == [(1, 3)]
    [held] = archived.held
    assert (held.position, held.stream_id, held.why) == (4, "order/ren-2", "is not over")
    assert (await orders.archive(folder)).written == []


async def test_order_leaves_as_a_whole_where_others_are_open_between_its_events(
    orders: Orders, folder: Path
) -> None:
    await orders.take(renewal(renewal_id="ren-1", payment=in_app()))
    await orders.take(renewal(renewal_id="ren-2", payment=in_app()))
    await paid_in_app(orders, "ren-1")
    assert [each.events for each in (await orders.archive(folder)).written] == [1]
    await orders.again()

    told = await orders.take(renewal(renewal_id="ren-1", payment=in_app()), name="again")
    other = await orders.take(renewal(renewal_id="ren-1", quantity=2))

    assert told == {"ignored:duplicate_request": 1}
    assert other == {"applied": 1}
    assert (await names(orders))[-1] == "RenewalRejected"
    assert failed(await verified(orders)) == failed(await verified(orders, folder)) == {}
    await paid_in_app(orders, "ren-2")
    await orders.archive(folder)
    assert await names(orders) == ["PlanActivated"]
    assert unread(await verified(orders, folder)) == failed(await verified(orders, folder)) == {}
    assert await orders.take(renewal(renewal_id="ren-1", quantity=2), name="again") == {
        "ignored:duplicate_refused_request": 1
    }


async def test_young_orders_stay(orders: Orders, folder: Path) -> None:
    await orders.buy("ren-1")
    orders.now += timedelta(days=1)
    await orders.buy("ren-2", "ren-3")

    archived = await orders.archive(folder, before=NOW + timedelta(hours=1))

    assert [each.events for each in archived.written] == [3]
    assert [held.why for held in archived.held] == ["goes on until 2026-11-21T08:00:00.000000Z"]


async def test_what_is_not_published_stays(orders: Orders, folder: Path) -> None:
    await orders.buy("ren-1", "ren-2")
    hashes = await orders.log.hashes_at({HOME: 2})
    await orders.log.mark_published({HOME: LogEnd(2, hashes[HOME])})

    archived = await archive_as_owner(orders.admin_dsn, folder, LATER)

    assert [each.last_position for each in archived.written] == [2]


async def test_money_for_an_archived_order_waits_for_a_person_and_pays_for_no_other(
    orders: Orders, folder: Path
) -> None:
    await orders.take(renewal(renewal_id="ren-1", payment=in_app()))
    await paid_in_app(orders, "ren-1")
    await orders.buy("ren-2")
    # This process still knows the order from before.
    await orders.archive(folder)

    late = confirmation(renewal_id="ren-1", gateway_txn_id="late", amount=usd(1))
    assert await orders.take(late) == {"dead_lettered:order_archived": 1}

    await orders.take(renewal(renewal_id="ren-3", payment=in_app()))
    stolen = confirmation(renewal_id="ren-3", gateway_txn_id="txn-ren-1")
    assert await orders.take(stolen) == {"applied": 1}
    await orders.settle()
    assert (await names(orders))[-1] == "PaymentConfirmationRefused"
    owner = "SELECT stream_id FROM gateway_transaction WHERE gateway_txn_id = 'txn-ren-1'"
    assert await orders.pool.fetchval(owner) == "order/ren-1"
    assert failed(await verified(orders)) == failed(await verified(orders, folder)) == {}


async def test_refund_that_the_shop_owes_keeps_its_order_and_one_that_came_later_is_for_a_person(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1")
    await paid_in_app(orders, "ren-1")
    [held] = (await orders.archive(folder)).held
    assert (held.stream_id, held.why) == ("order/ren-1", "is not over")

    [instructed] = [each for each in await orders.events() if isinstance(each, RefundInstructed)]
    said = refund_confirmed(instructed)
    assert await orders.take(said) == {"applied": 1}
    await orders.buy("ren-2")
    assert (await orders.archive(folder)).held == []
    assert "SurplusReturned" not in await names(orders)
    await orders.again()

    assert await orders.take(said, name="again") == {"ignored:refund_not_owed": 1}
    second = refund_confirmed(instructed, gateway_refund_ref="shop-second")
    assert await orders.take(second) == {"dead_lettered:refund_not_owed": 1}
    assert failed(await verified(orders, folder)) == {}


async def test_account_of_another_shard_gets_no_archived_id(orders: Orders, folder: Path) -> None:
    await orders.buy("ren-1", "ren-2")
    await orders.archive(folder)
    await orders.again()
    stranger = next(
        name for name in (f"acct-{n}" for n in range(2, 99)) if shard_of(name, SHARDS) != HOME
    )

    told = await orders.take(renewal(renewal_id="ren-1", account_id=stranger))

    assert told == {"applied": 1}
    refused = [each for each in await orders.events() if isinstance(each, RenewalRejected)]
    assert [(each.account_id, each.reason) for each in refused] == [(stranger, "renewal_id_reused")]
    assert await orders.pool.fetchval("SELECT count(*) FROM effect") == 0


async def test_process_that_knew_a_shard_long_ago_goes_on_in_it(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1")
    journal = orders.journal
    watch = LogWatch(log=orders.log, committed=lambda: journal.heads, logger=get_logger())
    await watch.look()
    await orders.again()
    await orders.buy("ren-2", "ren-3")
    await orders.archive(folder)

    await watch.look()
    async with journal.session(orders.log.transaction(shards=[HOME])) as session:
        assert session.tx.heads[HOME].archived == 8


async def test_running_orders_are_archived_and_nobody_is_charged_twice(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "RANGE_EVENTS", 10)
    done = asyncio.Event()

    async def customers() -> None:
        for number in range(20):
            await orders.buy(f"ren-{number}")
            told = await orders.take(renewal(renewal_id=f"ren-{number // 2}"), name=str(number))
            assert told == {"ignored:duplicate_request": 1}
        done.set()

    running = asyncio.create_task(customers())
    written = []
    while not done.is_set():
        written += (await orders.archive(folder)).written
        await asyncio.sleep(0)
    await running

    assert len(written) > 1
    captures = await orders.pool.fetchval("SELECT count(*) FROM gateway_transaction")
    assert captures == 20
    assert failed(await verified(orders)) == failed(await verified(orders, folder)) == {}
    assert unread(await verified(orders, folder)) == {}


async def test_stream_that_goes_on_while_it_is_archived_stays(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await orders.take(renewal(renewal_id="ren-1", payment=in_app()))
    await paid_in_app(orders, "ren-1")
    await orders.buy("ren-2")
    planned = plan.plan_range
    late = confirmation(renewal_id="ren-1", gateway_txn_id="late")

    async def plan_and_go_on(*arguments: Any) -> plan.ArchivePlan:
        found = await planned(*arguments)
        if not orders.offsets.get((CONFIRMATIONS.name, HOME), 0) > 1:
            await orders.take(late)
        return found

    monkeypatch.setattr(archiving, "plan_range", plan_and_go_on)
    archived = await orders.archive(folder, before=NOW + timedelta(hours=1))

    assert archived.written == []
    assert [held.stream_id for held in archived.held] == ["order/ren-1"]
    assert await asyncio.to_thread(lambda: [*folder.iterdir()]) == []

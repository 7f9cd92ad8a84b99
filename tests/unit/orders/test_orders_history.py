"""The billing history: a row for each order, each surplus and each sum that went back."""

from __future__ import annotations

from datetime import timedelta

from schemas.envelope import Event
from services.orders.history import Entry, Kind, Status, history
from services.runtime.processor import Settlement
from tests.unit.orders.builders import ICCID, NOW, by_token, in_app, usd
from tests.unit.orders.steps import ORDER, TOP_UP, ask, ask_top_up, confirm, shop_gives_back
from tests.unit.orders.world import World


def rows(world: World) -> list[Entry]:
    return history([(stream_of(event), event) for event in world.events])


def stream_of(event: Event) -> str:
    return ORDER if getattr(event, "renewal_id", None) else TOP_UP


def test_renewal_that_works_has_one_row_with_its_receipt(world: World) -> None:
    ask(world, quantity=2)
    world.run_until(NOW)
    [row] = rows(world)
    assert (row.kind, row.status, row.amount) == (Kind.RENEWAL, Status.ACTIVE, usd(4240))
    assert (row.at, row.order_id, row.receipt) == (NOW, "ren-1", "ren-1")
    assert (row.method, row.reason) == ("card", None)
    assert row.what is not None
    assert row.what.startswith("2 x ")
    assert row.reference


def test_each_step_of_a_renewal_is_a_status(world: World) -> None:
    ask(world, iccid=ICCID[:-4] + "0003")
    world.run_until(NOW)
    seen = [history([(ORDER, each) for each in world.events[: n + 1]])[0].status for n in range(2)]
    assert seen == [Status.AWAITING_PAYMENT, Status.PAID]


def test_declined_and_expired_orders_say_so_and_have_no_receipt(world: World) -> None:
    ask(world, payment=by_token("tok_bank_limit"))
    ask_top_up(world, payment=in_app())
    world.run_until(NOW + timedelta(days=2))
    declined, expired = rows(world)
    assert (declined.status, declined.reason) == (Status.PAYMENT_FAILED, "bank_limit")
    assert (expired.kind, expired.status, expired.amount) == (
        Kind.TOP_UP,
        Status.EXPIRED,
        usd(5000),
    )
    assert (declined.receipt, expired.receipt) == (None, None)


def test_refused_order_says_why(world: World) -> None:
    ask(world, plan_code="no-such-plan")
    [row] = rows(world)
    assert (row.status, row.reason, row.amount) == (Status.REJECTED, "unknown_plan", None)


def test_money_that_goes_back_is_a_row_of_its_own(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    confirm(world)
    order, surplus, refund = rows(world)
    assert order.status is Status.ACTIVE
    assert (surplus.status, surplus.reason) == (Status.OWED, "paid_twice")
    assert (refund.kind, refund.status, refund.receipt) == (
        Kind.REFUND,
        Status.ASKED_OF_SHOP,
        None,
    )
    shop_gives_back(world)
    _, surplus, refund = rows(world)
    assert (surplus.kind, surplus.status) == (Kind.SURPLUS, Status.RETURNED)
    assert (refund.status, refund.amount) == (Status.RETURNED, surplus.amount)
    assert refund.receipt
    assert refund.reference


def test_money_that_the_gateway_does_not_give_back_is_told_until_it_is_back(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    confirm(world)
    (refund,) = world.effects
    world.settle(refund, Settlement(by="maria", reason="not there", outcome="not_refunded"))
    assert (rows(world)[-1].status, rows(world)[-1].reason) == (Status.NOT_RETURNED, "not there")
    said = Settlement(
        by="maria", reason="by hand", outcome="refunded", gateway="bank", reference="transfer-9"
    )
    world.settle(refund, said)
    assert (rows(world)[-1].status, rows(world)[-1].reference) == (Status.RETURNED, "transfer-9")
    assert len(rows(world)) == 3, "the same row, not another"


def test_top_up_is_credited(world: World) -> None:
    ask_top_up(world)
    world.run_until(NOW)
    [row] = rows(world)
    assert (row.kind, row.status, row.receipt) == (Kind.TOP_UP, Status.CREDITED, "top-1")


def test_account_without_events_has_no_rows() -> None:
    assert history([]) == []

"""What the shop's own gateway took: the shop is asked to give it back, and says when it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from schemas.confirmations import RefundInstructed
from schemas.orders import PaymentCaptured, RefundCompleted
from schemas.surplus import SurplusReturned
from services.orders.order import identities
from services.orders.order.archival import ARCHIVAL
from services.orders.order.rules import IgnoredReason
from services.orders.payments.commands import ConfirmRefund
from services.runtime.errors import Poison
from services.runtime.processor import Ignored, Settlement
from tests.unit.orders.builders import ICCID, NOW, POLICY, RULES, in_app, usd
from tests.unit.orders.steps import (
    ORDER,
    ask,
    confirm,
    last,
    outcomes,
    refund_confirmed,
    shop_gives_back,
)
from tests.unit.orders.world import World

NEVER = ICCID[:-4] + "9001"
LATER = NOW + timedelta(days=3)
Opener = Callable[..., World]


@pytest.fixture
def world_of(tmp_path: Path) -> Iterator[Opener]:
    """Open worlds of other policies."""
    opened: list[World] = []

    def made(**changes: Any) -> World:
        opened.append(World(tmp_path, replace(RULES, policy=replace(POLICY, **changes))))
        return opened[-1]

    yield made
    for world in opened:
        world.close()


def given_back_by_us(world: World) -> int:
    """Return how often our gateway was really asked to give money back."""
    journal = world.ports.gateway.journal
    with journal.locked():
        return len(list(journal.all("refund")))


def never_activated(world: World) -> RefundInstructed:
    """Have a plan that was paid in the app fail, and return what the shop is asked."""
    ask(world, payment=in_app(), iccid=NEVER)
    confirm(world)
    world.run_until(LATER)
    instructed: RefundInstructed = last(world, RefundInstructed)
    return instructed


def said(world: World, instructed: RefundInstructed, **changes: Any) -> Any:
    return world.tell(ORDER, partial(ConfirmRefund, refund_confirmed(instructed, **changes)))


def test_shop_is_asked_for_what_it_took_and_our_gateway_gives_nothing_back(world: World) -> None:
    instructed = never_activated(world)
    captured = last(world, PaymentCaptured)
    assert captured.external is True
    assert (instructed.gateway, instructed.gateway_txn_id) == ("app-gateway", "txn-1")
    assert (instructed.amount, instructed.payment_id) == (captured.amount, captured.payment_id)
    assert outcomes(world)[-2:] == ["ActivationFailed", "RefundInstructed"]
    assert given_back_by_us(world) == 0
    (kept,) = world.unfinished()
    assert [kept.effect_id] == list(world.effects)
    assert kept.hold_key == world.effects[kept.effect_id].hold_key is not None


def test_refund_bears_the_reference_that_the_shop_names_and_ends_the_order(world: World) -> None:
    instructed = never_activated(world)
    said(world, instructed, gateway_refund_ref="shop-re-7")
    completed = last(world, RefundCompleted)
    assert (completed.gateway, completed.gateway_refund_ref) == ("app-gateway", "shop-re-7")
    assert completed.refund_id == instructed.refund_id
    assert (completed.amount, completed.settled_by) == (usd(2120), None)
    assert world.effects == {}
    assert given_back_by_us(world) == 0
    again = said(world, instructed, gateway_refund_ref="shop-re-7")
    assert again == Ignored(IgnoredReason.REFUND_NOT_OWED)
    with pytest.raises(Poison) as second:
        said(world, instructed, gateway_refund_ref="shop-re-8")
    assert second.value.reason == "refund_not_owed"


def test_refund_of_a_plan_that_lives_is_not_passed_over(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world)
    world.run_until(NOW)
    captured = last(world, PaymentCaptured)
    claim = RefundInstructed(
        account_id="acct-1",
        renewal_id=captured.renewal_id or "",
        refund_id="refund-x",
        payment_id=captured.payment_id,
        gateway=captured.gateway,
        gateway_txn_id=captured.gateway_txn_id,
        method=captured.method,
        amount=captured.amount,
        instructed_at=NOW,
    )
    with pytest.raises(Poison) as caught:
        said(world, claim)
    assert (caught.value.reason, str(caught.value)) == (
        "refund_not_owed",
        (
            "this payment is not owed: it bought what was ordered, or went back by another refund; "
            "clear it with the gateway, then discard this record"
        ),
    )


def test_person_may_say_it_instead_and_the_shop_says_it_later_in_vain(world: World) -> None:
    instructed = never_activated(world)
    (refund,) = world.effects
    told = {"outcome": "refunded", "gateway": "app-gateway", "reference": "desk-1"}
    world.settle(refund, Settlement(by="maria", reason="the shop called", **told))  # type: ignore[arg-type]
    assert last(world, RefundCompleted).settled_by == "maria"
    assert said(world, instructed) == Ignored(IgnoredReason.REFUND_NOT_OWED)


def test_shop_gives_back_after_a_person_found_that_it_does_not(world: World) -> None:
    instructed = never_activated(world)
    (refund,) = world.effects
    world.settle(refund, Settlement(by="maria", reason="it refuses", outcome="not_refunded"))
    said(world, instructed)
    assert world.names()[-2:] == ["RefundFailed", "RefundCompleted"]
    assert world.effects == {}


_ANOTHER_ACCOUNT = (
    "the order belongs to another account: find out whose refund this is and publish it with the "
    "account and the id of its order"
)
_NOT_INSTRUCTED = (
    "nobody was instructed to give this transaction back: compare gateway and gateway_txn_id with "
    "RefundInstructed"
)
_ANOTHER_AMOUNT = (
    "the refund is not the amount of the payment: give all of it back, publish a RefundConfirmed "
    "that says so, then discard this record"
)


def test_surplus_of_the_shop_is_asked_back_and_the_plan_lives(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    confirm(world)
    shop_gives_back(world)
    assert outcomes(world)[2:] == [
        "PlanActivated",
        "SurplusCaptured",
        "RefundInstructed",
        "SurplusReturned",
    ]
    assert last(world, SurplusReturned).gateway_refund_ref == "shop-txn-1"
    assert given_back_by_us(world) == 0


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        ({"account_id": "acct-2"}, "account_mismatch", _ANOTHER_ACCOUNT),
        ({"amount": usd(2119)}, "refund_amount", _ANOTHER_AMOUNT),
        ({"gateway_txn_id": "txn-2"}, "refund_not_instructed", _NOT_INSTRUCTED),
        ({"gateway": "other"}, "refund_not_instructed", _NOT_INSTRUCTED),
    ],
)
def test_refund_that_nobody_was_instructed_to_is_poison(
    world: World, changes: dict[str, Any], reason: str, message: str
) -> None:
    instructed = never_activated(world)
    with pytest.raises(Poison) as caught:
        said(world, instructed, **changes)
    assert (caught.value.reason, str(caught.value)) == (reason, message)
    assert "RefundCompleted" not in world.names()


def test_our_own_charge_is_given_back_by_us_whatever_the_shop_says(world: World) -> None:
    ask(world, iccid=NEVER)
    world.run_until(LATER)
    assert outcomes(world)[-2:] == ["ActivationFailed", "RefundCompleted"]
    assert given_back_by_us(world) == 1
    captured = last(world, PaymentCaptured)
    assert captured.external is None
    claim = RefundInstructed(
        account_id="acct-1",
        renewal_id="ren-1",
        refund_id=identities.refund_id(captured.payment_id),
        payment_id=captured.payment_id,
        gateway=captured.gateway,
        gateway_txn_id=captured.gateway_txn_id,
        method=captured.method,
        amount=captured.amount,
        instructed_at=NOW,
    )
    with pytest.raises(Poison, match="nobody was instructed"):
        said(world, claim)


def test_what_was_paid_at_a_gateway_that_we_charge_through_we_give_back(world_of: Opener) -> None:
    world = world_of(own_gateways=frozenset({"app-gateway"}))
    ask(world, payment=in_app(), iccid=NEVER)
    confirm(world)
    world.run_until(LATER)
    assert last(world, PaymentCaptured).external is None
    assert outcomes(world)[-2:] == ["ActivationFailed", "RefundCompleted"]
    assert given_back_by_us(world) == 1


def test_shop_is_not_asked_for_what_nobody_verified(world_of: Opener) -> None:
    world = world_of(trusted_gateways=frozenset({"silent-bank"}))
    ask(world, payment=in_app(), iccid=NEVER)
    confirm(world, gateway="silent-bank")
    world.run_until(LATER)
    captured = last(world, PaymentCaptured)
    assert (captured.unverified, captured.external) == (True, True)
    assert outcomes(world)[-1] == "ActivationFailed"
    assert [each.kind for each in world.effects.values()] == ["refund"]


def test_payment_that_an_older_version_recorded_is_given_back_as_it_promised(
    world: World,
) -> None:
    ask(world, payment=in_app(), iccid=NEVER)
    confirm(world)
    kind = world.processor.streams.kind_of(ORDER)
    state = kind.initial_state()
    for event in world.events:
        changes = {"external": None} if isinstance(event, PaymentCaptured) else {}
        state = kind.evolve(state, event.model_copy(update=changes))
    world.states[ORDER] = state
    world.run_until(LATER)
    assert world.names()[-2:] == ["ActivationFailed", "RefundCompleted"]


def test_refund_that_is_confirmed_again_after_the_order_was_archived_changes_nothing(
    world: World,
) -> None:
    instructed = never_activated(world)
    said(world, instructed)
    state = world.states[ORDER]
    assert ARCHIVAL.is_over(state)
    world.states[ORDER] = ARCHIVAL.restored(ARCHIVAL.remains(state))
    assert said(world, instructed) == Ignored(IgnoredReason.REFUND_NOT_OWED)


def test_order_whose_shop_owes_a_refund_is_not_over(world: World) -> None:
    never_activated(world)
    assert not ARCHIVAL.is_over(world.states[ORDER])

"""Money that an order does not take: who gets it, why, and what it costs nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.orders import PaymentFailed
from schemas.surplus import (
    SurplusCaptured,
    SurplusCredited,
    SurplusReason,
    SurplusReturned,
    SurplusReturnFailed,
)
from services.orders.payments.commands import ApplyWalletCharged
from services.runtime.errors import Poison
from services.runtime.processor import Settlement
from tests.unit.orders.builders import NOW, by_token, in_app, usd
from tests.unit.orders.payments.test_orders_wallet import wallet_charged
from tests.unit.orders.steps import ORDER, ask, ask_top_up, confirm, confirm_top_up, last, outcomes
from tests.unit.orders.world import World


def settle(world: World, effect_id: str, **outcome: Any) -> None:
    """Have a person say what became of an effect."""
    world.settle(effect_id, Settlement(by="maria", reason="as the statement says", **outcome))


def test_surplus_that_the_gateway_does_not_give_back_stays_owed_until_a_person_has_done_so(
    world: World,
) -> None:
    ask(world)
    world.run_until(NOW)
    confirm(world)
    (refund,) = world.effects
    settle(world, refund, outcome="not_refunded")
    assert last(world, SurplusReturnFailed).settled_by == "maria"
    (kept,) = world.unfinished()
    assert (kept.effect_id, kept.hold_key is None) == (refund, False)
    settle(world, refund, outcome="refunded", gateway="bank", reference="transfer-9")
    returned = last(world, SurplusReturned)
    assert returned.settled_by == "maria"
    assert returned.reason is SurplusReason.PAID_TWICE
    assert (returned.gateway, returned.gateway_refund_ref) == ("bank", "transfer-9")
    assert world.effects == {}


def test_surplus_claims_its_transaction_and_states_its_fee(world: World) -> None:
    ask(world)
    world.run_until(NOW)
    confirm(world, fee=usd(61))
    captured = last(world, SurplusCaptured)
    assert (captured.amount, captured.fee) == (usd(2120), usd(61))
    assert world.claims.owners["app-gateway", "txn-1"] == ORDER


def test_top_up_whose_payment_failed_credits_what_comes_later_with_its_bonus(world: World) -> None:
    ask_top_up(world, payment=by_token("tok_bank_limit"))
    world.run_until(NOW)
    confirm_top_up(world)
    assert outcomes(world)[1:] == ["PaymentFailed", "SurplusCaptured", "SurplusCredited"]
    assert last(world, SurplusCredited).reason is SurplusReason.PAYMENT_FAILED


def test_first_late_payment_of_a_top_up_that_waited_for_it_earns_the_bonus_once(
    world: World,
) -> None:
    ask_top_up(world, payment=in_app())
    world.run_until(NOW + timedelta(hours=2))
    confirm_top_up(world)
    confirm_top_up(world, gateway_txn_id="txn-2")
    assert outcomes(world)[1:] == [
        "OrderExpired",
        *("SurplusCaptured", "SurplusCredited", "BonusGranted"),
        *("SurplusCaptured", "SurplusCredited"),
    ]


def test_wallet_that_pays_an_order_which_does_not_wait_for_it_is_for_a_person(
    world: World,
) -> None:
    ask(world, payment=by_token("tok_bank_limit"))
    world.run_until(NOW)
    with pytest.raises(Poison, match="does not wait for it"):
        world.tell(ORDER, lambda now: ApplyWalletCharged(wallet_charged(), now))


def test_surplus_is_no_attempt_of_the_payment(world: World) -> None:
    ask(world, payment=by_token("tok_bank_limit"))
    confirm(world)
    world.run_until(NOW)
    failed = last(world, PaymentFailed)
    assert (failed.attempt, last(world, SurplusCaptured).reason) == (1, "paid_another_way")

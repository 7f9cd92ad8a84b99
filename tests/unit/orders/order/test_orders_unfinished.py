"""The effects of an order can be told from its events and its request: compared at every step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import pytest

from schemas.envelope import Event, utc_text
from schemas.requests import PaymentInstruction
from services.orders.effects import EFFECTS
from services.orders.order.past import Past, Request
from services.orders.payments.gateways.sandbox_script import TOKENS
from services.orders.renewals.effects.activate import ACTIVATE
from services.runtime.effect import Release, Start
from services.runtime.processor import Settlement
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    by_token,
    from_wallet,
    in_app,
    renewal,
    top_up,
)
from tests.unit.orders.steps import ORDER, ask, ask_top_up, confirm
from tests.unit.orders.world import World

ENDINGS: Final = ("0000", "9001", "9003", "9004", "9005", "9007", "9102")
LONG_AFTER: Final = NOW + timedelta(days=3)
STEPS_MAX: Final = 500


def is_open(events: Sequence[Event]) -> bool:
    """Say whether the order waits for a payment or an activation."""
    return Past(events, None, CATALOGUE).is_open


def releases(events: Sequence[Event], request: Request | None) -> bool:
    """Say whether a held activation is let go."""
    return Release(ORDER) in ACTIVATE.restore(Past(events, request, CATALOGUE)).changes


def told(world: World, request: Request) -> dict[str, tuple[str, str | None]]:
    """Return the effects that events and request tell: kind and hold key by id."""
    found = world.unfinished(request)
    return {each.effect_id: (each.kind, each.hold_key) for each in found}


def wanted(world: World) -> dict[str, tuple[str, str | None]]:
    """Return the effects that orders really has, but those that lead to nothing any more."""
    return {
        effect_id: (each.kind, each.hold_key)
        for effect_id, each in world.effects.items()
        if not (each.kind == "charge" and not is_open(world.events))
    }


def live(world: World, request: Request) -> None:
    """Run one effect after the other to the end, and compare before each."""
    for _ in range(STEPS_MAX):
        assert told(world, request) == wanted(world)
        due = {key: each.due_at for key, each in world.effects.items() if each.due_at}
        if not due:
            return
        world.execute(min(due, key=lambda each: due[each]))
    pytest.fail("it never ends")


@pytest.mark.parametrize("token", [token for token in TOKENS if token != "tok_down_N"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_effects_of_a_renewal_by_card_are_told_at_every_step(
    world: World, token: str, ending: str
) -> None:
    changes = {"payment": by_token(token), "iccid": f"898520300000000{ending}"}
    ask(world, **changes)
    live(world, renewal(**changes))


@pytest.mark.parametrize("payment", [in_app(), from_wallet()])
def test_effects_of_a_renewal_that_waits_for_somebody_are_told(
    world: World, payment: PaymentInstruction
) -> None:
    ask(world, payment=payment)
    assert told(world, renewal(payment=payment)) == wanted(world)
    assert is_open(world.events)


def test_order_that_ended_or_never_was_is_not_open(world: World) -> None:
    ask(world, plan_code="none")
    assert not is_open(world.events)
    world.events.clear()
    world.states.clear()
    ask(world)
    assert is_open(world.events)
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"
    assert not is_open(world.events)
    assert not is_open([])


def test_look_up_that_is_told_again_begins_to_count_anew(world: World) -> None:
    changes = {"payment": by_token("tok_timeout_before")}
    ask(world, **changes)
    (charge,) = [key for key in world.effects if key.startswith("charge/")]
    world.execute(charge)
    (again,) = [each for each in world.unfinished(renewal(**changes)) if each.effect_id == charge]
    payment_id = charge.removeprefix("charge/")
    look_up = {
        "payment_id": payment_id,
        "not_found_count": 0,
        "gateway": "sandbox",
        "since": utc_text(NOW),
        "until": utc_text(NOW),
    }
    assert again == Start(charge, "charge", look_up)


def test_paid_renewal_waits_for_its_activation(world: World) -> None:
    ask(world, payment=in_app())
    for request in (None, renewal(payment=in_app())):
        assert not releases(world.events, request)
    confirm(world)
    for request in (None, renewal(payment=in_app())):
        assert releases(world.events, request)
    live(world, renewal(payment=in_app()))
    for request in (None, renewal(payment=in_app())):
        assert not releases(world.events, request)


@pytest.mark.parametrize("token", ["tok_ok", "tok_timeout_after", "tok_bank_limit"])
def test_effects_of_a_top_up_are_told_at_every_step(world: World, token: str) -> None:
    ask_top_up(world, payment=by_token(token))
    live(world, top_up(payment=by_token(token)))


def test_outcome_that_is_unknown_is_told_as_a_look_up_that_cannot_charge(world: World) -> None:
    ask(world, payment=by_token("tok_timeout_before"))
    world.execute(next(key for key, each in world.effects.items() if each.kind == "charge"))

    charge = next(
        each for each in world.unfinished(renewal(payment=by_token())) if each.kind == "charge"
    )

    assert "token" not in charge.payload


def dropped(world: World) -> set[str]:
    """Return the kinds of which a restored database keeps nothing that is not told."""
    past = Past(world.events, renewal(), CATALOGUE)
    return {each.kind for each in EFFECTS if each.restore(past).drop_others}


def test_effects_of_a_restored_database_that_may_have_been_settled_go(world: World) -> None:
    assert dropped(world) == {"refund", "expire", "activate"}
    ask(world)
    assert dropped(world) == {"refund", "expire"}
    (charge,) = [key for key in world.effects if key.startswith("charge/")]
    world.execute(charge)
    assert world.names()[-1] == "PaymentCaptured"
    assert dropped(world) == {"refund", "expire"}
    world.run_until(NOW)
    assert world.names()[-1] == "PlanActivated"
    assert dropped(world) == {"refund", "expire", "activate"}


def test_refund_that_its_gateway_does_not_make_is_kept_and_not_asked_for(world: World) -> None:
    ask(world, payment=in_app())
    world.settle(f"expire/{ORDER}", said("expired"))
    confirm(world)
    (refund,) = world.effects
    world.settle(refund, said("not_refunded"))

    assert told(world, renewal(payment=in_app())) == wanted(world)
    (kept,) = world.unfinished()
    assert kept.hold_key


def said(outcome: str) -> Settlement:
    return Settlement(outcome=outcome, by="li.wei", reason="seen")


def test_without_its_request_a_paid_renewal_is_told_nothing_that_needs_an_iccid(
    world: World,
) -> None:
    ask(world)
    assert ORDER in world.states
    assert world.unfinished() == []

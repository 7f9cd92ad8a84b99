"""A person settles a payment whose outcome the gateway does not tell: recorded with who and why."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from schemas.orders import PaymentCaptured, PaymentFailed, PaymentOutcomeResolved
from services.orders.commands import CapturedElsewhere, SettleUnknownPayment
from services.orders.handlers import on_charge_given_up
from services.orders.rules import IgnoredReason
from services.runtime.errors import Poison
from services.runtime.processor import Decision, GiveUp, Ignored
from tests.unit.orders.builders import NOW, by_token, usd
from tests.unit.orders.steps import CHARGE_ID, ORDER, TOP_UP, ask, ask_top_up, charges, last
from tests.unit.orders.world import World

EFFECT = f"charge/{CHARGE_ID}"
FOUND = CapturedElsewhere("sandbox", "txn-found")


def settle(
    world: World, outcome: object, stream_id: str = ORDER, by: str = "li.wei"
) -> Decision | Ignored:
    def command(now: datetime) -> SettleUnknownPayment:
        return SettleUnknownPayment(outcome, by, "the gateway's statement", now)  # type: ignore[arg-type]

    return world.tell(stream_id, command)


def unknown(world: World, token: str) -> None:
    """Ask for a renewal whose charge gets no answer, and leave it there."""
    ask(world, payment=by_token(token))
    world.execute(EFFECT)
    assert world.names()[-1] == "PaymentOutcomeUnknown"


def test_captured_payment_is_recorded_with_who_and_why_and_buys_the_plan(world: World) -> None:
    unknown(world, "tok_timeout_before")
    world.now = NOW + timedelta(hours=1)
    settle(world, FOUND)
    world.run_until(world.now)
    resolved, captured = last(world, PaymentOutcomeResolved), last(world, PaymentCaptured)
    assert (resolved.outcome, resolved.settled_by) == ("captured", "li.wei")
    assert resolved.settlement_reason == "the gateway's statement"
    assert (captured.gateway_txn_id, captured.amount) == ("txn-found", usd(2120))
    assert captured.captured_at == NOW
    assert world.names()[-1] == "PlanActivated"


def test_look_up_after_the_settlement_records_the_same_money_once(world: World) -> None:
    unknown(world, "tok_timeout_after")
    settle(world, FOUND)
    world.run_until(NOW + timedelta(days=1))
    assert charges(world) == 1
    assert world.names().count("PaymentCaptured") == 1
    assert "ActivationFailed" not in world.names()
    assert world.effects == {}


def test_payment_settled_as_not_charged_fails_and_forgets_the_activation(world: World) -> None:
    unknown(world, "tok_timeout_before")
    settle(world, "not_charged")
    resolved = last(world, PaymentOutcomeResolved)
    assert (resolved.outcome, resolved.settled_by) == ("not_charged", "li.wei")
    assert last(world, PaymentFailed).retryable
    world.run_until(NOW + timedelta(days=1))
    assert world.names()[-1] == "PaymentFailed"
    assert world.effects == {}


def test_money_found_after_not_charged_is_given_back(world: World) -> None:
    unknown(world, "tok_timeout_after")
    settle(world, "not_charged")
    world.run_until(NOW + timedelta(days=1))
    assert world.names()[-3:] == ["PaymentCaptured", "ActivationFailed", "RefundCompleted"]


def test_top_up_settled_as_captured_is_credited(world: World) -> None:
    ask_top_up(world, payment=by_token("tok_timeout_before"))
    world.execute(next(iter(world.effects)))
    settle(world, FOUND, TOP_UP)
    assert world.names()[-3:] == ["PaymentCaptured", "WalletToppedUp", "BonusGranted"]


def test_outcome_that_is_known_is_not_settled_again(world: World) -> None:
    ask(world)
    known = Ignored(IgnoredReason.PAYMENT_OUTCOME_NOT_UNKNOWN)
    assert settle(world, "not_charged") == known
    world.run_until(NOW)
    assert settle(world, FOUND) == known


def test_settled_payment_is_not_settled_twice(world: World) -> None:
    unknown(world, "tok_timeout_before")
    settle(world, "not_charged")
    assert settle(world, FOUND, by="other") == Ignored(IgnoredReason.PAYMENT_OUTCOME_NOT_UNKNOWN)


@pytest.mark.parametrize(
    ("outcome", "gateway", "reference"),
    [("captured", None, "txn"), ("captured", "sandbox", None), ("declined", "sandbox", "txn")],
)
def test_incomplete_or_foreign_outcome_is_refused(
    outcome: str, gateway: str | None, reference: str | None
) -> None:
    given_up = GiveUp(
        outcome=outcome, by="li.wei", reason="seen", gateway=gateway, reference=reference
    )
    with pytest.raises(Poison):
        on_charge_given_up(given_up, NOW)

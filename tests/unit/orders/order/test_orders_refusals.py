"""What orders refuses or passes over because the order is of another kind, over or not there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.confirmations import PaymentConfirmed
from schemas.requests import PaymentMethod
from services.orders.catalogue.catalogue import Catalogue
from services.orders.decider import Command, decide
from services.orders.order.archival import ARCHIVAL
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.past import Past
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import AwaitingActivation, OrderState, Renewal
from services.orders.payments.commands import (
    ConfirmPayment,
    ExpireOrder,
    RefundedElsewhere,
    SettleConfirmation,
    SettleExpiry,
    SettleRefund,
)
from services.orders.renewals.commands import (
    AcceptRenewal,
    ActivatedElsewhere,
    RecordActivation,
    SettleActivation,
)
from services.orders.renewals.providers.provider import Activated
from services.orders.topups.commands import AcceptTopUp
from services.orders.unfinished import unfinished
from services.runtime.errors import ConfigurationError, Park, Poison, SettlementRefused
from services.runtime.processor import Decision, Ignored
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    RULES,
    confirmation,
    in_app,
    renewal,
    top_up,
)
from tests.unit.orders.steps import ORDER, TOP_UP, ask, ask_top_up, confirm
from tests.unit.orders.world import World

WHO = ("li.wei", "a statement", NOW)
ACTIVE = Activated(
    provider="sandbox",
    provider_order_ref="order-77",
    valid_from=NOW,
    valid_until=NOW,
    activated_at=NOW,
)
ELSEWHERE = ActivatedElsewhere("sandbox", "order-77", NOW)
SOLD = CATALOGUE.plan("eu-month-basic", NOW)
WITHOUT_PLAN = replace(
    RULES,
    catalogue=Catalogue.model_validate(
        CATALOGUE.model_dump(by_alias=True)
        | {"plan": [plan.model_dump() for plan in CATALOGUE.plans if plan != SOLD]}
    ),
)
LOST = "the catalogue no longer holds version 2026-2 of eu-month-basic: put it back, then "


def decided(state: OrderState, *commands: Command) -> OrderState:
    for command in commands:
        decision = decide(command, state, RULES)
        assert isinstance(decision, Decision)
        for event in decision.events:
            state = evolve(state, event)
    return state


def archived(state: OrderState) -> OrderState:
    return ARCHIVAL.restored(ARCHIVAL.remains(state))


REFUSED = decided(initial_state(), AcceptRenewal(renewal(plan_code="none"), NOW))
OPEN_TOP_UP = decided(initial_state(), AcceptTopUp(top_up(), NOW))


def refused(command: Command, state: OrderState, rules: Rules = RULES) -> Park | Poison:
    with pytest.raises((Park, Poison)) as error:
        decide(command, state, rules)
    assert isinstance(error.value, Park | Poison)
    return error.value


WHAT_TO_DO = (
    "if money was taken, publish the request under its own id and redrive this record, or refund the "
    "payment at the gateway and discard it"
)


SEE = "see its past with `perennial orders show`, then discard this record"


@pytest.mark.parametrize(
    ("state", "reason", "message"),
    [
        (initial_state(), "order_unknown", f"no order has this id: {WHAT_TO_DO}"),
        (REFUSED, "order_refused", f"the order was refused: {WHAT_TO_DO}"),
        (
            archived(REFUSED),
            "order_archived",
            f"the order was over and is archived: {SEE}",
        ),
    ],
)
def test_command_about_no_order_is_refused_word_for_word(
    state: OrderState, reason: str, message: str
) -> None:
    error = refused(ExpireOrder(NOW), state)
    assert (type(error), error.reason, str(error)) == (Poison, reason, message)


ANOTHER_ACCOUNT = (
    "the order belongs to another account: find out whose payment this is and publish it with the "
    "account and the id it was made for"
)


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        (confirmation(account_id="acct-2"), "account_mismatch", ANOTHER_ACCOUNT),
        (
            confirmation(method=PaymentMethod.WALLET),
            "confirmation_method",
            "the ledger alone confirms wallet payments: send the method the customer used",
        ),
    ],
)
def test_confirmation_that_cannot_be_of_the_order_is_refused_word_for_word(
    said: PaymentConfirmed, reason: str, message: str
) -> None:
    waiting = decided(initial_state(), AcceptRenewal(renewal(payment=in_app()), NOW))
    error = refused(ConfirmPayment(said, NOW), waiting)
    assert (type(error), error.reason, str(error)) == (Poison, reason, message)


def test_order_waits_for_32_confirmations_and_no_more() -> None:
    state = decided(
        initial_state(),
        AcceptRenewal(renewal(payment=in_app()), NOW),
        *(ConfirmPayment(confirmation(gateway_txn_id=f"txn-{n}"), NOW) for n in range(32)),
    )
    error = refused(ConfirmPayment(confirmation(gateway_txn_id="txn-32"), NOW), state)
    assert (type(error), error.reason, str(error)) == (
        Poison,
        "confirmations_too_many",
        (
            "32 confirmations of this order wait for an answer of their gateway: see `perennial effects "
            "list`, then redrive"
        ),
    )
    again = decide(ConfirmPayment(confirmation(gateway_txn_id="txn-31"), NOW), state, RULES)
    assert again == Ignored(IgnoredReason.CONFIRMATION_UNDER_WAY)


def test_money_for_an_archived_order_is_refused_word_for_word() -> None:
    error = refused(ConfirmPayment(confirmation(account_id="acct-1"), NOW), archived(REFUSED))
    assert (type(error), error.reason, str(error)) == (
        Poison,
        "order_archived",
        (
            "the order was over and is archived, and was not paid by this transaction: ask the gateway "
            "what it holds, give that back, then discard this record"
        ),
    )
    error = refused(ConfirmPayment(confirmation(account_id="acct-2"), NOW), archived(REFUSED))
    assert (error.reason, str(error)) == ("account_mismatch", ANOTHER_ACCOUNT)


def test_reasons_are_the_words_that_metrics_and_pages_know() -> None:
    assert {each.name.lower() for each in IgnoredReason} == {each.value for each in IgnoredReason}
    assert set(IgnoredReason) == {
        *("duplicate_request", "duplicate_refused_request", "payment_already_recorded"),
        *("confirmation_under_way", "confirmation_not_awaited", "payment_not_awaited"),
        *("payment_outcome_not_unknown", "activation_not_awaited", "not_for_orders"),
        "refund_not_owed",
    }


def test_top_up_has_nothing_to_activate() -> None:
    error = refused(SettleActivation(ELSEWHERE, *WHO), OPEN_TOP_UP)
    assert (type(error), error.reason, str(error)) == (
        Poison,
        "not_a_renewal",
        "a top-up has nothing to activate: check who wrote this",
    )


def test_fact_about_a_refused_or_archived_order_changes_nothing() -> None:
    waiting = decided(initial_state(), AcceptRenewal(renewal(payment=in_app()), NOW))
    decision = decide(ConfirmPayment(confirmation(), NOW), waiting, RULES)
    assert isinstance(decision, Decision)
    for state in (REFUSED, archived(REFUSED)):
        assert evolve(state, decision.events[0]) is state


def test_same_top_up_again_is_passed_over() -> None:
    again = decide(AcceptTopUp(top_up(), NOW + timedelta(days=1)), OPEN_TOP_UP, RULES)
    assert again == Ignored(IgnoredReason.DUPLICATE_REQUEST)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            SettleConfirmation("app-gateway", "txn-9", *WHO),
            IgnoredReason.CONFIRMATION_NOT_AWAITED,
        ),
        (SettleActivation("not_activated", *WHO), IgnoredReason.ACTIVATION_NOT_AWAITED),
        (SettleRefund("pay-9", "not_refunded", *WHO), IgnoredReason.REFUND_NOT_OWED),
        (
            SettleRefund("pay-9", RefundedElsewhere("bank", "transfer-9", NOW), *WHO),
            IgnoredReason.REFUND_NOT_OWED,
        ),
    ],
)
def test_settling_what_nobody_waits_for_is_passed_over(
    command: Command, reason: IgnoredReason
) -> None:
    waiting = decided(initial_state(), AcceptRenewal(renewal(payment=in_app()), NOW))
    assert decide(command, waiting, RULES) == Ignored(reason)


def test_order_that_is_paid_is_not_closed_before_its_time(world: World) -> None:
    ask(world, payment=in_app())
    confirm(world)
    closed = decide(SettleExpiry(*WHO), world.states[ORDER], RULES)
    assert closed == Ignored(IgnoredReason.PAYMENT_NOT_AWAITED)


def _awaiting_activation(world: World) -> Renewal:
    ask(world, payment=in_app())
    confirm(world)
    state = world.states[ORDER]
    assert isinstance(state, Renewal)
    assert isinstance(state.stage, AwaitingActivation)
    return state


def test_plan_that_the_catalogue_lost_is_named_with_its_version(world: World) -> None:
    command = RecordActivation(ACTIVE, 1, last=False, now=NOW)
    error = refused(command, _awaiting_activation(world), WITHOUT_PLAN)
    lost = LOST + "start again"
    assert (type(error), error.reason, str(error)) == (Park, "catalogue_lost", lost)


def test_activation_of_a_plan_that_the_catalogue_lost_is_not_settled(world: World) -> None:
    with pytest.raises(SettlementRefused) as error:
        decide(SettleActivation(ELSEWHERE, *WHO), _awaiting_activation(world), WITHOUT_PLAN)
    assert str(error.value) == LOST + "start again"


def test_effects_of_an_order_whose_plan_the_catalogue_lost_are_not_told(world: World) -> None:
    request = renewal(payment=in_app())
    _awaiting_activation(world)
    with pytest.raises(ConfigurationError) as error:
        unfinished(Past(world.events, request, WITHOUT_PLAN.catalogue))
    assert str(error.value) == LOST + "start again"


def test_no_order_has_no_effects(world: World) -> None:
    ask(world, plan_code="none")
    assert world.unfinished(renewal()) == []
    ask_top_up(world)
    assert TOP_UP in world.states

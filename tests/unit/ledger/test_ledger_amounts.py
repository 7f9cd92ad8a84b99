"""Which amounts move is declared in the fields of the event, and read from there."""

from __future__ import annotations

from typing import Annotated

import pytest

from schemas.catalogue import PlanKind, PlanTier
from schemas.envelope import Event, Identifier, Part
from schemas.money import Money, Moves, moving_fields
from schemas.orders import PaymentCaptured
from schemas.requests import OfOneOrder, PaymentMethod
from services.ledger.rules.amounts import MONEY_FACTS, MoneyField, amounts_of, money_fact
from services.ledger.rules.variables import pattern_of
from tests.unit.ledger.builders import (
    bonus,
    captured,
    charge_requested,
    consideration,
    money,
    refunded,
    topped_up,
)


class Shares(Part):
    """What two parties get, one of them taxed."""

    theirs: Money
    theirs_jurisdiction: Identifier
    ours: Money
    note: str


class Shared(OfOneOrder):
    """Money that is shared."""

    total: Money
    shares: Annotated[Shares, Moves(whole="total")]
    tip: Annotated[Money | None, Moves()] = None
    aside: Money | None = None


def test_declared_amounts_of_every_event_are_those_that_were_agreed() -> None:
    parts = ("net", "tax", "bonus")
    assert {model.__name__: fact.names for model, fact in MONEY_FACTS.items()} == {
        "PaymentCaptured": (*parts, "fee"),
        "ActivationFailed": parts,
        "RefundCompleted": parts,
        "WalletToppedUp": ("amount",),
        "SurplusCaptured": ("amount", "fee"),
        "SurplusReturned": ("amount",),
        "SurplusCredited": ("amount",),
        "BonusGranted": ("amount",),
        "WalletCharged": parts,
    }


def test_marked_fields_are_what_moves_with_the_whole_and_the_jurisdictions() -> None:
    assert moving_fields(Shared) == {"shares": Moves(whole="total"), "tip": Moves()}
    fact = money_fact(Shared)
    assert fact.fields == (
        MoneyField("shares", "total", (("theirs", "theirs_jurisdiction"), ("ours", None))),
        MoneyField("tip", None, ()),
    )
    assert fact.names == ("theirs", "ours", "tip")
    assert (fact.by_purpose, fact.choices) == (True, ())


def test_kinds_are_every_combination_of_what_the_event_has() -> None:
    assert [
        (each.purpose, each.choices, each.amount, each.kind)
        for each in money_fact(Shared).every_kind
    ] == [
        (purpose, {}, name, f"Shared.{purpose}.{name}")
        for purpose in ("renewal", "topup")
        for name in ("theirs", "ours", "tip")
    ]
    by_method = money_fact(type(topped_up(1))).every_kind
    assert [(each.choices, each.kind) for each in by_method] == [
        ({"method": method}, f"WalletToppedUp.{method}.amount") for method in PaymentMethod
    ]


def test_words_are_given_where_a_field_says_them() -> None:
    everywhere = {"account_id", "currency"}
    assert {each.amount: set(each.words) for each in money_fact(Shared).every_kind} == {
        "theirs": everywhere | {"jurisdiction"},
        "ours": everywhere,
        "tip": everywhere,
    }
    assert {each.amount: set(each.words) for each in money_fact(PaymentCaptured).every_kind} == {
        "net": everywhere | {"gateway"},
        "tax": everywhere | {"gateway", "jurisdiction"},
        "bonus": everywhere | {"gateway"},
        "fee": everywhere | {"gateway"},
    }


class Earned(Event):
    """A plan whose kind an older event does not state."""

    plan_kind: PlanKind | None = None
    plan_tier: PlanTier
    amount: Annotated[Money, Moves()]


def test_choices_are_part_of_the_kind_and_one_that_is_not_stated_is_left_out() -> None:
    fact = money_fact(Earned)
    assert [choice.name for choice in fact.choices] == ["PlanKind", "PlanTier"]
    assert {
        (each.choices["plan_kind"], each.choices["plan_tier"]): each.kind
        for each in fact.every_kind
    } == {
        (kind, tier): f"Earned.{kind}.{tier}.amount" if kind else f"Earned.{tier}.amount"
        for kind in (*PlanKind, None)
        for tier in PlanTier
    }
    assert fact.kinds[None, "month", "basic"] == {"amount": "Earned.month.basic.amount"}
    assert fact.kinds[None, None, "basic"] == {"amount": "Earned.basic.amount"}
    template = "Income:Plans:{PlanKind}:{PlanTier}"
    assert pattern_of(template).fullmatch("Income:Plans:Month:Basic")
    assert not pattern_of(template).fullmatch("Income:Plans:Month:Other")


def test_event_that_marks_nothing_states_no_amount() -> None:
    request = charge_requested(1, 2)
    assert moving_fields(type(request)) == {}
    assert amounts_of(request) == []


@pytest.mark.parametrize(
    ("event", "gateway"),
    [
        (captured(3, 2, fee=1, gateway="stripe"), "stripe"),
        (refunded(consideration(3, 2), gateway="stripe"), "stripe"),
        (topped_up(5, gateway=None), None),
        (bonus(4), None),
    ],
)
def test_every_amount_names_the_gateway_that_the_fact_names(
    event: Event, gateway: str | None
) -> None:
    assert {amount.gateway for amount in amounts_of(event)} == {gateway}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (
            captured(3, 2, fee=1),
            [
                ("PaymentCaptured.renewal.card.net", 3, None),
                ("PaymentCaptured.renewal.card.tax", 2, "US"),
                ("PaymentCaptured.renewal.card.fee", 1, None),
            ],
        ),
        (captured(3, topup=True), [("PaymentCaptured.topup.card.net", 3, None)]),
        (bonus(4), [("BonusGranted.amount", 4, None)]),
        (
            topped_up(5).model_copy(update={"bonus": money(7)}),
            [("WalletToppedUp.card.amount", 5, None)],
        ),
    ],
)
def test_amounts_of_an_event_are_its_marked_money_but_for_nothing(
    event: Event, found: list[tuple[str, int, str | None]]
) -> None:
    assert [
        (amount.kind, amount.money.amount_minor, amount.jurisdiction)
        for amount in amounts_of(event)
    ] == found

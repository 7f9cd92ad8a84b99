"""Which amounts move is declared in the fields of the event, and read from there."""

from __future__ import annotations

from typing import Annotated

import pytest

from schemas.envelope import Event, Identifier, Part
from schemas.money import Money, Moves, moving_fields
from schemas.requests import OfOneOrder, PaymentMethod
from services.ledger.rules.amounts import MONEY_FACTS, MoneyField, amounts_of, money_fact
from tests.unit.ledger.builders import bonus, captured, charge_requested, money, topped_up


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
    assert (fact.by_purpose, fact.by_method) == (True, False)


def test_kinds_are_every_combination_of_what_the_event_has() -> None:
    assert list(money_fact(Shared).every_kind()) == [
        (purpose, None, name, f"Shared.{purpose}.{name}")
        for purpose in ("renewal", "topup")
        for name in ("theirs", "ours", "tip")
    ]
    by_method = [kind for *_, kind in money_fact(type(topped_up(1))).every_kind()]
    assert by_method == [f"WalletToppedUp.{method}.amount" for method in PaymentMethod]


def test_event_that_marks_nothing_states_no_amount() -> None:
    request = charge_requested(1, 2)
    assert moving_fields(type(request)) == {}
    assert amounts_of(request) == []


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

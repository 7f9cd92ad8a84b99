"""No request is accepted above the maximum of its currency at that moment, whatever it asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.ledger import WalletCharged
from schemas.money import Money
from schemas.orders import (
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
    WalletToppedUp,
)
from services.orders.catalogue.catalogue import Catalogue, Maximum
from services.orders.catalogue.pricing import quote
from services.orders.decider import decide
from services.orders.order.evolution import initial_state
from services.orders.order.rules import Rules
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from services.runtime.processor import Decision
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    RULES,
    by_token,
    from_wallet,
    in_app,
    renewal,
    top_up,
    usd,
)
from tests.unit.orders.world import World

CURRENCIES = sorted({currency for plan in CATALOGUE.plans for currency in plan.price})
CHANGE = NOW.replace(month=12, day=1, hour=0)
QUANTITY_MAX = 24


def maximum_of(currency: str) -> Money:
    maximum = CATALOGUE.maximum(currency, NOW)
    assert maximum is not None
    return Money(amount_minor=maximum.amount_minor, currency=currency)


def more(amount: Money) -> Money:
    return Money(amount_minor=amount.amount_minor + 1, currency=amount.currency)


def with_maxima(*maxima: Maximum) -> Rules:
    tables = CATALOGUE.model_dump(by_alias=True) | {"maximum": list(maxima)}
    return replace(RULES, catalogue=Catalogue(**tables))


def maximum(amount_minor: int, **changes: Any) -> Maximum:
    fields: dict[str, Any] = {
        "currency": "USD",
        "amount_minor": amount_minor,
        "valid_from": NOW,
    }
    return Maximum(**(fields | changes))


def answer(command: AcceptRenewal | AcceptTopUp, rules: Rules = RULES) -> Any:
    decision = decide(command, initial_state(), rules)
    assert isinstance(decision, Decision)
    if isinstance(decision.events[0], RenewalRejected | TopUpRejected):
        assert decision.effects == ()
    return decision.events[0]


@pytest.mark.parametrize("currency", CURRENCIES)
def test_top_up_of_the_maximum_is_accepted_and_of_one_minor_unit_more_refused(
    currency: str,
) -> None:
    most = maximum_of(currency)
    payment = by_token(currency=currency)

    accepted = answer(AcceptTopUp(top_up(amount=most, payment=payment), NOW))
    refused = answer(AcceptTopUp(top_up(amount=more(most), payment=payment), NOW))

    assert isinstance(accepted, TopUpAccepted)
    assert isinstance(refused, TopUpRejected)
    assert refused.reason is TopUpRejectionReason.ABOVE_MAXIMUM
    assert refused.maximum == most


@pytest.mark.parametrize("payment", [by_token(), in_app(), from_wallet()])
def test_renewal_is_measured_by_its_total(payment: Any) -> None:
    asked = AcceptRenewal(renewal(payment=payment, quantity=2), NOW)

    accepted = answer(asked, with_maxima(maximum(4240)))
    refused = answer(asked, with_maxima(maximum(4239)))

    assert isinstance(accepted, RenewalAccepted)
    assert accepted.quote.total == usd(4240)
    assert isinstance(refused, RenewalRejected)
    assert refused.reason is RejectionReason.ABOVE_MAXIMUM
    assert refused.detail == ("the total is above `maximum`: send less under a new renewal_id")
    assert refused.maximum == usd(4239)
    assert refused.current_total is None


def test_new_maximum_holds_from_its_first_moment() -> None:
    rules = with_maxima(maximum(10_000), maximum(2_000, valid_from=CHANGE))
    asked = top_up(amount=usd(2_001))

    before = answer(AcceptTopUp(asked, CHANGE - timedelta(microseconds=1)), rules)
    from_then = answer(AcceptTopUp(asked, CHANGE), rules)

    assert isinstance(before, TopUpAccepted)
    assert isinstance(from_then, TopUpRejected)
    assert from_then.maximum == usd(2_000)


def test_currency_without_a_maximum_yet_is_not_offered() -> None:
    rules = with_maxima(maximum(10_000, valid_from=CHANGE))

    refused_top_up = answer(AcceptTopUp(top_up(), NOW), rules)
    refused_renewal = answer(AcceptRenewal(renewal(), NOW), rules)

    assert refused_top_up.reason is TopUpRejectionReason.CURRENCY_NOT_SUPPORTED
    assert refused_renewal.reason is RejectionReason.PLAN_NOT_SOLD_IN_CURRENCY


def test_shipped_maxima_refuse_nothing_that_is_on_sale() -> None:
    for plan in CATALOGUE.plans:
        for currency in plan.price:
            tax = CATALOGUE.tax(currency, NOW)
            assert tax is not None
            payment = by_token(currency=currency)
            request = renewal(plan_code=plan.code, quantity=QUANTITY_MAX, payment=payment)
            total = quote(CATALOGUE, plan, tax, request, NOW).total
            assert total.amount_minor <= maximum_of(currency).amount_minor


def test_top_up_that_no_sum_could_hold_reaches_neither_gateway_nor_ledger(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        for number, payment in enumerate((by_token(), in_app()) * 2):
            request = top_up(topup_id=f"top-{number}", amount=usd(9 * 10**14), payment=payment)
            world.tell(f"topup/top-{number}", lambda now, it=request: AcceptTopUp(it, now))  # type: ignore[misc]
        world.run_until(NOW + timedelta(days=2))
    finally:
        world.close()

    assert world.names() == ["TopUpRejected"] * 4
    assert not any(isinstance(event, WalletToppedUp | WalletCharged) for event in world.events)
    assert not world.effects

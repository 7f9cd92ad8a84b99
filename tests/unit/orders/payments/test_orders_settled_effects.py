"""What a person may settle, word for word: each outcome as its command, all others refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.requests import PaymentMethod
from services.orders import effects as orders
from services.orders.payments.commands import (
    CapturedElsewhere,
    RefundedElsewhere,
    SettleConfirmation,
    SettleExpiry,
    SettleRefund,
    SettleUnknownPayment,
)
from services.orders.payments.effects.charge import LookUpCharge, captured
from services.orders.payments.gateways.gateway import (
    Found,
    NotFound,
    NotSupported,
    TransactionLookUp,
    Unavailable,
)
from services.orders.renewals.commands import ActivatedElsewhere, SettleActivation
from services.runtime.effect import EffectRun, JsonObject
from services.runtime.errors import SettlementRefused
from services.runtime.processor import Settlement
from tests.unit.orders.builders import NOW, usd

EFFECTS: dict[str, Any] = {each.kind: each for each in orders.EFFECTS}
WHO = ("li.wei", "a statement")
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(days=1)
PAYLOADS: dict[str, JsonObject] = {
    "charge": {"payment_id": "pay-1", "not_found_count": 0},
    "activate": {"reference": "act-1"},
    "refund": {
        "refund_id": "ref-1",
        "payment_id": "pay-1",
        "gateway": "app-gateway",
        "gateway_txn_id": "txn-1",
        "method": "card",
        "amount": {"amount_minor": 2120, "currency": "USD"},
    },
    "expire": {},
    "confirm": {
        "gateway": "app-gateway",
        "gateway_txn_id": "txn-1",
        "agreed": True,
        "not_found_count": 0,
    },
}


def run_of(kind: str) -> EffectRun:
    return EffectRun(
        0,
        f"{kind}/1",
        kind,
        "acct-1",
        "order/ren-1",
        PAYLOADS[kind],
        1,
        recovered=False,
        checkpoint=None,
    )


LOOK_UP = LookUpCharge(payment_id="pay-1", not_found_count=0)
FOUND = Found(
    gateway="bank",
    gateway_txn_id="txn-1",
    reference="pay-1",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    fee=None,
    status="captured",
    captured_at=BEFORE,
)
BY_STREAM = FOUND.model_copy(update={"reference": "order/ren-1"})


def said(outcome: str, **more: Any) -> Settlement:
    return Settlement(outcome=outcome, by=WHO[0], reason=WHO[1], **more)


@pytest.mark.parametrize(
    ("kind", "outcome", "command"),
    [
        ("charge", said("not_charged"), SettleUnknownPayment("not_charged", *WHO, NOW)),
        ("activate", said("not_activated"), SettleActivation("not_activated", *WHO, NOW)),
        (
            "activate",
            said("activated", provider="alpha", reference="ord-7", at=BEFORE),
            SettleActivation(ActivatedElsewhere("alpha", "ord-7", BEFORE), *WHO, NOW),
        ),
        (
            "activate",
            said("activated", provider="alpha", reference="ord-7", at=AFTER),
            SettleActivation(ActivatedElsewhere("alpha", "ord-7", NOW), *WHO, NOW),
        ),
        (
            "activate",
            said("activated", provider="alpha", reference="ord-7"),
            SettleActivation(ActivatedElsewhere("alpha", "ord-7", NOW), *WHO, NOW),
        ),
        ("refund", said("not_refunded"), SettleRefund("pay-1", "not_refunded", *WHO, NOW)),
        (
            "refund",
            said("refunded", gateway="bank", reference="back-7", at=BEFORE),
            SettleRefund("pay-1", RefundedElsewhere("bank", "back-7", BEFORE), *WHO, NOW),
        ),
        ("expire", said("expired"), SettleExpiry(*WHO, NOW)),
        ("confirm", said("settled"), SettleConfirmation("app-gateway", "txn-1", *WHO, NOW)),
    ],
)
def test_outcome_becomes_its_command(kind: str, outcome: Settlement, command: object) -> None:
    assert EFFECTS[kind].settle(outcome, run_of(kind), NOW) == command


@pytest.mark.parametrize(
    ("kind", "outcome", "problem"),
    [
        ("charge", said("captured"), "captured needs --gateway and --reference"),
        (
            "charge",
            said("captured", gateway="bank"),
            "captured needs --gateway and --reference",
        ),
        (
            "charge",
            said("captured", reference="txn-1"),
            "captured needs --gateway and --reference",
        ),
        ("charge", said("expired"), "the outcome of a charge is captured or not_charged"),
        ("activate", said("activated"), "activated needs --provider and --reference"),
        (
            "activate",
            said("expired"),
            "the outcome of an activation is activated or not_activated",
        ),
        (
            "refund",
            said("refunded"),
            "refunded needs --gateway and --reference",
        ),
        ("refund", said("expired"), "the outcome of a refund is refunded or not_refunded"),
        (
            "expire",
            said("captured"),
            "the outcome of an expiry is expired: a payment comes in as PaymentConfirmed",
        ),
        (
            "confirm",
            said("captured"),
            "the outcome of a confirmation is settled: the gateway alone says what was paid",
        ),
    ],
)
def test_other_outcome_is_refused_with_what_it_may_be(
    kind: str, outcome: Settlement, problem: str
) -> None:
    with pytest.raises(SettlementRefused) as refused:
        EFFECTS[kind].settle(outcome, run_of(kind), NOW)
    assert str(refused.value) == problem


CAPTURED = said("captured", gateway="bank", reference="txn-1")


@pytest.mark.parametrize(
    ("told", "borne_out"),
    [
        (NotSupported(), None),
        (FOUND, FOUND),
        (
            FOUND.model_copy(update={"reference": "order/ren-1"}),
            FOUND.model_copy(update={"reference": "order/ren-1"}),
        ),
    ],
)
@pytest.mark.parametrize(("at", "taken"), [(None, None), (BEFORE, BEFORE), (AFTER, NOW)])
def test_captured_money_is_taken_as_the_gateway_tells_or_cannot(
    told: TransactionLookUp, borne_out: Found | None, at: Any, taken: Any
) -> None:
    command = captured(
        CAPTURED.model_copy(update={"at": at}), LOOK_UP, run_of("charge"), NOW, told=told
    )
    found = CapturedElsewhere("bank", "txn-1", taken, borne_out)
    assert command == SettleUnknownPayment(found, *WHO, NOW)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (
            Unavailable(),
            "the gateway does not answer about this transaction now: ask again later",
        ),
        (
            NotFound(),
            "the gateway knows no such transaction: compare its id with the statement",
        ),
        (
            FOUND.model_copy(update={"reference": "pay-2"}),
            "the gateway holds this transaction for another payment: find the right one",
        ),
        (
            FOUND.model_copy(update={"status": "pending"}),
            "the gateway says that this transaction is pending, of 21.20 USD: nothing came in",
        ),
    ],
)
def test_captured_money_that_the_gateway_does_not_bear_out_is_refused(
    told: TransactionLookUp, problem: str
) -> None:
    with pytest.raises(SettlementRefused) as refused:
        captured(CAPTURED, LOOK_UP, run_of("charge"), NOW, told=told)
    assert str(refused.value) == problem


def test_gateway_that_was_not_asked_bears_nothing_out() -> None:
    with pytest.raises(SettlementRefused, match="does not answer"):
        EFFECTS["charge"].settle(CAPTURED, run_of("charge"), NOW)

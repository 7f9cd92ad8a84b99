"""What a person may settle, word for word: each outcome as its command, all others refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.requests import PaymentMethod
from services.orders.payments.commands import (
    CapturedElsewhere,
    RefundedElsewhere,
    SettleConfirmation,
    SettleExpiry,
    SettleRefund,
    SettleUnknownPayment,
)
from services.orders.payments.gateways.gateway import (
    Found,
    NotFound,
    NotSupported,
    TransactionLookUp,
    Unavailable,
)
from services.orders.payments.give_ups import (
    on_charge_settled,
    on_confirmation_settled,
    on_expiry_settled,
    on_refund_settled,
)
from services.orders.renewals.commands import ActivatedElsewhere, SettleActivation
from services.orders.renewals.give_ups import on_activation_settled
from services.runtime.errors import SettlementRefused
from services.runtime.processor import EffectRun, Settle, Settlement
from tests.unit.orders.builders import NOW, usd

SETTLE: dict[str, Settle] = {
    "charge": on_charge_settled,
    "activate": on_activation_settled,
    "refund": on_refund_settled,
    "expire": on_expiry_settled,
    "confirm": on_confirmation_settled,
}
WHO = ("li.wei", "a statement")
BEFORE, AFTER = NOW - timedelta(days=1), NOW + timedelta(days=1)
PAYLOAD = {"payment_id": "pay-1", "gateway": "app-gateway", "gateway_txn_id": "txn-1"}
RUN = EffectRun(
    0,
    "charge/pay-1",
    "charge",
    "acct-1",
    "order/ren-1",
    PAYLOAD,
    1,
    recovered=False,
    checkpoint=None,
)

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
    assert SETTLE[kind](outcome, RUN, NOW) == command


@pytest.mark.parametrize(
    ("kind", "outcome", "problem"),
    [
        ("charge", said("captured"), "captured money needs the gateway and its transaction id"),
        (
            "charge",
            said("captured", gateway="bank"),
            "captured money needs the gateway and its transaction id",
        ),
        (
            "charge",
            said("captured", reference="txn-1"),
            "captured money needs the gateway and its transaction id",
        ),
        ("charge", said("expired"), "the outcome of a charge is captured or not_charged"),
        ("activate", said("activated"), "an active plan needs the provider and its reference"),
        (
            "activate",
            said("expired"),
            "the outcome of an activation is activated or not_activated",
        ),
        (
            "refund",
            said("refunded"),
            "refunded money needs the gateway and its refund's reference",
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
        SETTLE[kind](outcome, RUN, NOW)
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
    command = on_charge_settled(CAPTURED.model_copy(update={"at": at}), RUN, NOW, told=told)
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
        on_charge_settled(CAPTURED, RUN, NOW, told=told)
    assert str(refused.value) == problem


def test_gateway_that_was_not_asked_bears_nothing_out() -> None:
    with pytest.raises(SettlementRefused, match="does not answer"):
        SETTLE["charge"](CAPTURED, RUN, NOW)

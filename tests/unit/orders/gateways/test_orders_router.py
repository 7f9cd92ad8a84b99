"""Several gateways as one: each call goes to the gateway that the payment names, and to no other."""

from __future__ import annotations

from typing import Final

import pytest

from schemas.requests import PaymentMethod
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeReference,
    NotFound,
    Refund,
)
from services.orders.payments.gateways.router import GatewayRouter, OpenGateway
from services.runtime.errors import Halt
from tests.unit.orders.builders import NOW, usd
from tests.unit.orders.forgetful import Forgetful, Said
from tests.unit.orders.world import run

CHARGE: Final = Charge(
    payment_id="p-1", token="tok_ok", method=PaymentMethod.CARD, amount=usd(2120), gateway="new"
)
REFUND: Final = Refund(
    refund_id="r-1",
    payment_id="p-1",
    gateway="acquirer-7",
    gateway_txn_id="txn-9",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    through="new",
)


def reported(name: str) -> Said:
    captured = Captured(gateway=name, gateway_txn_id="t", amount=usd(1), captured_at=NOW)
    return Said(captured, done=True)


class Two:
    """An old gateway, which is the default, and a new one that is two acquirers."""

    def __init__(self) -> None:
        self.old, self.new = Forgetful(), Forgetful()
        self.old.answers = {"charge": [reported("old")]}
        self.new.answers = {"charge": [reported("acquirer-7")]}
        self.router = GatewayRouter(
            {
                "old": OpenGateway(self.old, frozenset({"old"})),
                "new": OpenGateway(self.new, frozenset({"acquirer-7", "acquirer-8"})),
            },
            default="old",
        )

    def asked(self) -> list[str]:
        return [
            f"{name}.{method}"
            for name, gateway in (("old", self.old), ("new", self.new))
            for method, _ in gateway.asked
        ]


@pytest.fixture
def two() -> Two:
    return Two()


@pytest.mark.parametrize(("name", "asked"), [("new", "new"), ("old", "old"), (None, "old")])
def test_charge_and_its_look_up_go_where_the_order_says(
    two: Two, name: str | None, asked: str
) -> None:
    run(two.router.charge(CHARGE.model_copy(update={"gateway": name})))
    found = run(two.router.look_up_charge(ChargeReference(payment_id="p-2", gateway=name)))
    assert found == NotFound()
    assert two.asked() == [f"{asked}.charge", f"{asked}.look_up_charge"]


@pytest.mark.parametrize(
    ("through", "gateway", "asked"),
    [
        ("new", "acquirer-7", "new"),
        ("new", "old", "new"),
        (None, "acquirer-8", "new"),
        (None, "old", "old"),
        (None, "app", "old"),
    ],
)
def test_refund_and_its_look_up_go_where_the_money_came_in(
    two: Two, through: str | None, gateway: str, asked: str
) -> None:
    refund = REFUND.model_copy(update={"through": through, "gateway": gateway})
    run(two.router.look_up_refund(refund))
    run(two.router.refund(refund))
    assert two.asked() == [f"{asked}.look_up_refund", f"{asked}.refund"]


@pytest.mark.parametrize(
    ("gateway", "asked"), [("acquirer-8", "new"), ("old", "old"), ("app", "old")]
)
def test_transaction_is_asked_of_the_gateway_that_reports_under_this_name(
    two: Two, gateway: str, asked: str
) -> None:
    run(two.router.look_up_transaction(gateway, "t"))
    assert two.asked() == [f"{asked}.look_up_transaction"]


def test_gateway_that_is_not_open_is_asked_through_no_other(two: Two) -> None:
    gone = "gone"
    with pytest.raises(Halt, match="names the gateway gone, which is not open: add it to"):
        run(two.router.charge(CHARGE.model_copy(update={"gateway": gone})))
    with pytest.raises(Halt, match="gone"):
        run(two.router.look_up_charge(ChargeReference(payment_id="p-1", gateway=gone)))
    for call in (two.router.refund, two.router.look_up_refund):
        with pytest.raises(Halt, match="gone"):
            run(call(REFUND.model_copy(update={"through": gone})))
    assert two.asked() == []


def test_charge_reported_under_an_unknown_name_stops_orders(two: Two) -> None:
    two.new.answers["charge"] = [reported("acquirer-9")]
    with pytest.raises(Halt, match="new charges as acquirer-9: add that to GATEWAY_NAMES"):
        run(two.router.charge(CHARGE))


def test_the_only_gateway_may_report_as_it_likes() -> None:
    only = Forgetful()
    router = GatewayRouter({"http": OpenGateway(only, frozenset())}, default="http")
    captured = run(router.charge(CHARGE.model_copy(update={"gateway": "http"})))
    assert isinstance(captured, Captured)
    run(router.refund(REFUND.model_copy(update={"through": None})))
    assert only.times("refund") == 1

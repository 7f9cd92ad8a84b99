"""Which way a confirmed payment was made: whose word counts."""

from __future__ import annotations

import pytest

from schemas.orders import PaymentCaptured
from schemas.requests import PaymentInstruction, PaymentMethod
from schemas.surplus import SurplusCaptured
from services.orders.decider import decide
from services.orders.payments.commands import RecordConfirmation
from services.orders.payments.gateways.gateway import Found
from services.runtime.processor import Decision
from tests.unit.orders.builders import NOW, RULES, from_wallet, in_app, usd
from tests.unit.orders.steps import ORDER, ask, hint
from tests.unit.orders.world import World


@pytest.mark.parametrize(
    ("told", "ordered", "method"),
    [
        (PaymentMethod.PAYPAL, in_app(), PaymentMethod.PAYPAL),
        (None, in_app(), PaymentMethod.CARD),
        (PaymentMethod.WALLET, in_app(), PaymentMethod.CARD),
        (None, from_wallet(), PaymentMethod.ALIPAY),
        (PaymentMethod.WALLET, from_wallet(), PaymentMethod.ALIPAY),
    ],
)
def test_method_is_what_the_gateway_tells_else_the_order_else_the_confirmation(
    world: World, told: PaymentMethod | None, ordered: PaymentInstruction, method: PaymentMethod
) -> None:
    ask(world, payment=ordered)
    hint(world, method=PaymentMethod.ALIPAY)
    found = Found(
        gateway="app-gateway",
        gateway_txn_id="txn-1",
        reference=ORDER,
        status="captured",
        amount=usd(2120),
        method=told,
        captured_at=NOW,
    )
    answer = RecordConfirmation("app-gateway", "txn-1", found, ORDER, 0, 1, NOW)
    decision = decide(answer, world.states[ORDER], RULES)
    assert isinstance(decision, Decision)
    (captured,) = (e for e in decision.events if isinstance(e, PaymentCaptured | SurplusCaptured))
    assert captured.method is method

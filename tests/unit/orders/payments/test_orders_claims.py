"""A gateway's transaction serves one order: claims of one process."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.orders import PaymentCaptured
from schemas.requests import PaymentMethod
from services.orders.payments.claims.transactions import Claim, MemoryClaims, claim_of
from services.runtime.errors import Poison
from tests.unit.ledger.builders import captured, surplus
from tests.unit.orders.builders import NOW
from tests.unit.orders.world import run


def paid(txn: str, **changes: Any) -> PaymentCaptured:
    return captured(100).model_copy(update={"gateway": "bank", "gateway_txn_id": txn} | changes)


def test_first_that_claims_a_transaction_keeps_it() -> None:
    claims = MemoryClaims()
    assert run(claims.claim("bank", "txn-1", "order/a")) == "order/a"
    assert run(claims.claim("bank", "txn-1", "order/b")) == "order/a"
    assert run(claims.claim("bank", "txn-2", "order/b")) == "order/b"
    assert run(claims.claim("other", "txn-1", "order/b")) == "order/b"


def test_captures_claim_all_of_them_or_nothing_and_say_whose_it_is() -> None:
    claims = MemoryClaims()
    claims.record([("order/a", paid("txn-1")), ("order/a", paid("txn-1"))])
    with pytest.raises(Poison) as refused:
        claims.record([("order/b", paid("txn-2")), ("order/b", paid("txn-1"))])
    assert (refused.value.reason, str(refused.value)) == (
        "transaction_already_used",
        (
            "transaction txn-1 of bank serves order/a already: ask the gateway's people whose payment "
            "it is"
        ),
    )
    assert claims.owners == {("bank", "txn-1"): "order/a"}


def test_log_gives_a_transaction_to_the_order_that_recorded_it_first() -> None:
    claims = MemoryClaims()
    claims.restore(
        [
            (NOW + timedelta(seconds=1), "order/b", paid("txn-1")),
            (NOW, "order/a", paid("txn-1")),
            (NOW, "order/c", paid("txn-2", method=PaymentMethod.WALLET)),
        ]
    )
    assert claims.owners == {("bank", "txn-1"): "order/a"}


def test_payment_or_surplus_of_a_gateway_is_claimed_and_one_of_the_wallet_is_not() -> None:
    assert claim_of("order/a", paid("txn-1")) == Claim("bank", "txn-1", "order/a")
    assert claim_of("order/a", surplus(100)) == Claim("app-gateway", "txn-1", "order/a")
    assert claim_of("order/a", paid("txn-1", method=PaymentMethod.WALLET)) is None
    assert Claim("bank", "txn-1", "order/a").key == ("bank", "txn-1")

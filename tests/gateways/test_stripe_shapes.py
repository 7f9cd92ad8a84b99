"""What we send is what Stripe's own description of its API allows, and its examples can be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import httpx
import pytest
from pydantic import SecretStr

from schemas.requests import PaymentMethod
from services.orders.payments.gateways.gateway import (
    Charge,
    ChargeReference,
    Declined,
    Found,
    NotFound,
    Refund,
    Refunded,
)
from services.orders.payments.gateways.stripe.client import open_client
from services.orders.payments.gateways.stripe.gateway import StripeGateway
from tests.gateways.stripe_proxy import API_KEY
from tests.gateways.stripe_world import BACK
from tests.unit.orders.builders import NOW, usd

CHARGE: Final = Charge(
    payment_id="p-1", token="cus_1-pm_1", method=PaymentMethod.CARD, amount=usd(2120)
)
REFUND: Final = Refund(
    refund_id="r-1",
    payment_id="p-1",
    gateway="stripe",
    gateway_txn_id="pi_1",
    method=PaymentMethod.CARD,
    amount=usd(2120),
)
REFERENCE: Final = ChargeReference(payment_id="p-1", since=NOW, until=NOW + timedelta(seconds=20))
NAMED: Final = ChargeReference(payment_id="p-1", gateway_txn_id="pi_1")
CALLS: Final[dict[str, tuple[Callable[[StripeGateway], Awaitable[object]], type]]] = {
    "charge": (lambda stripe: stripe.charge(CHARGE), Declined),
    "charge without a customer": (
        lambda stripe: stripe.charge(CHARGE.model_copy(update={"token": "pm_1"})),
        Declined,
    ),
    "look up a charge": (lambda stripe: stripe.look_up_charge(REFERENCE), NotFound),
    "look up a charge that waits": (lambda stripe: stripe.look_up_charge(NAMED), Declined),
    "end a charge that waits": (lambda stripe: stripe.cancel_charge(NAMED), Declined),
    "look up a transaction": (lambda stripe: stripe.look_up_transaction("stripe", "pi_1"), Found),
    "refund": (lambda stripe: stripe.refund(REFUND), Refunded),
    "look up a refund": (lambda stripe: stripe.look_up_refund(REFUND), NotFound),
}


@pytest.mark.parametrize(("call", "answer"), CALLS.values(), ids=CALLS)
def test_stripe_accepts_what_is_asked_and_its_example_is_understood(
    stripe_mock_url: str, call: Callable[[StripeGateway], Awaitable[object]], answer: type
) -> None:
    statuses: list[int] = []

    async def note(response: httpx.Response) -> None:
        statuses.append(response.status_code)

    async def ask() -> object:
        async with httpx.AsyncClient(event_hooks={"response": [note]}, trust_env=False) as http:
            client = open_client(http, SecretStr(API_KEY), stripe_mock_url)
            return await call(StripeGateway(client, BACK))

    assert isinstance(asyncio.run(ask()), answer)
    assert statuses == [200]


class Declining(httpx.AsyncHTTPTransport):
    """Says itself that the customer has to agree, once; everything else is asked of Stripe's mock."""

    statuses: tuple[int, ...] = ()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.statuses:
            self.statuses = (402,)
            error = {"type": "card_error", "code": "authentication_required"}
            said = {"error": error | {"payment_intent": {"object": "payment_intent", "id": "pi_1"}}}
            return httpx.Response(402, stream=httpx.ByteStream(json.dumps(said).encode()))
        response = await super().handle_async_request(request)
        self.statuses += (response.status_code,)
        return response


def test_stripe_accepts_that_the_customer_is_asked(stripe_mock_url: str) -> None:
    transport = Declining()

    async def ask() -> object:
        async with httpx.AsyncClient(transport=transport) as http:
            client = open_client(http, SecretStr(API_KEY), stripe_mock_url)
            return await StripeGateway(client, BACK).charge(CHARGE)

    assert isinstance(asyncio.run(ask()), Declined)
    assert transport.statuses == (402, 200)

"""No gateway is taken away that a payment under way still needs: the start says which."""

from __future__ import annotations

from typing import Final

import pytest

from schemas.envelope import Event
from schemas.requests import TopUpRequested
from services.orders.open_payments import check_open_payments
from services.runtime.errors import ConfigurationError
from tests.integration.orders.orders_database import Orders
from tests.unit.orders.builders import by_token, confirmation, in_app, renewal, top_up

KNOWN: Final = ("sandbox", "http", "stripe")
NEEDED: Final = (
    "payments are under way at sandbox (1, such as {}): leave it in PERENNIAL_ORDERS_GATEW"
)
DOWN, LOST = by_token("tok_down_99"), by_token("tok_timeout_before")
PENDING, HELD = {"gateway_txn_id": "t-pending-99"}, {"gateway_txn_id": "t-down-99"}


async def refusal(orders: Orders, *opened: str) -> str:
    try:
        await check_open_payments(orders.pool, opened, KNOWN)
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param([renewal(payment=DOWN)], id="a charge"),
        pytest.param([top_up(payment=DOWN)], id="a charge of a top-up"),
        pytest.param([renewal(payment=LOST)], id="a charge of unknown outcome"),
        pytest.param([renewal(iccid="8985203000000009007")], id="paid and not active"),
        pytest.param(
            [renewal(payment=by_token("tok_refund_down"), iccid="8985203000000009001")],
            id="a refund",
        ),
        pytest.param(
            [renewal(payment=in_app()), confirmation(gateway="sandbox", **HELD)],
            id="a confirmation",
        ),
    ],
)
async def test_gateway_of_a_payment_under_way_must_be_open(
    orders: Orders, asked: list[Event]
) -> None:
    for event in asked:
        await orders.take(event)
        await orders.settle()
    order = "topup/top-1" if isinstance(asked[0], TopUpRequested) else "order/ren-1"
    assert (await refusal(orders, "http")).startswith(NEEDED.format(order))
    assert await refusal(orders, "http", "sandbox") == ""


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param([], id="nothing"),
        pytest.param([renewal(), top_up()], id="orders that are over"),
        pytest.param([renewal(payment=by_token("tok_expired"))], id="a declined charge"),
        pytest.param([renewal(payment=in_app())], id="nobody paid yet"),
        pytest.param(
            [renewal(payment=in_app()), confirmation(**PENDING)], id="a gateway of the shop"
        ),
    ],
)
async def test_gateway_that_no_payment_needs_may_go(orders: Orders, asked: list[Event]) -> None:
    for event in asked:
        await orders.take(event)
        await orders.settle()
    assert await refusal(orders, "http") == ""


async def test_payments_from_before_gateways_had_names_need_none_by_name(orders: Orders) -> None:
    await orders.take(renewal(payment=DOWN))
    await orders.settle()
    await orders.execute("UPDATE effect SET payload = payload - 'gateway' - 'since'")
    assert await refusal(orders, "http") == ""


async def test_all_payments_of_each_gateway_are_counted_with_the_first_order(
    orders: Orders,
) -> None:
    for name in ("c", "a", "b"):
        await orders.take(renewal(renewal_id=f"ren-{name}", payment=DOWN))
    await orders.settle()
    await orders.execute(
        "UPDATE effect SET payload = jsonb_set(payload, '{gateway}', '\"stripe\"')"
        " WHERE stream_id = 'order/ren-b'"
    )
    found = await refusal(orders, "http")
    assert "at sandbox (2, such as order/ren-a), stripe (1, such as order/ren-b): leave" in found
    assert await refusal(orders, "sandbox", "stripe") == ""


async def test_payload_that_cannot_be_read_stops_its_effect_and_not_the_start(
    orders: Orders,
) -> None:
    for name in ("a", "b"):
        await orders.take(renewal(renewal_id=f"ren-{name}", payment=DOWN))
    await orders.settle()
    for payload in ("[]", '"x"', '{"gateway": 7}', '{"gateway": "stripe", "tok": "en"}'):
        await orders.execute(
            f"UPDATE effect SET payload = '{payload}'::jsonb WHERE stream_id = 'order/ren-b'"
        )
        assert (await refusal(orders, "http")).startswith(NEEDED.format("order/ren-a"))
